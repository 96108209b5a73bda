import * as vscode from 'vscode';
import { ConfigurationParams, LanguageClient } from 'vscode-languageclient/node';
import { declaredKeys, explicitSettings, mayComplete, serverCommand } from './settings';
import { ServerStatus, StatusItem } from './status';

const REVIEW = 'qwencoder.review';

let client: LanguageClient | undefined;
let enabled = true;

/** Start the language server, and register the commands. */
export async function activate(context: vscode.ExtensionContext): Promise<void> {
  const keys = declaredKeys(context.extension.packageJSON);
  const status = new StatusItem();
  const log = vscode.window.createOutputChannel('Qwen-Coder', { log: true });

  // One after the other: a client that is still starting cannot be stopped.
  let last: Promise<void> = Promise.resolve();
  const restart = (): Promise<void> => (last = last.then(async () => {
    await stop();
    client = createClient(keys, status, log);
    await client.start().catch((error: unknown) => void reportFailure(error, log));
  }));

  context.subscriptions.push(
    status,
    log,
    vscode.commands.registerCommand('qwencoder.restart', restart),
    vscode.commands.registerCommand('qwencoder.showLog', () => log.show()),
    vscode.commands.registerCommand('qwencoder.toggle', () => {
      enabled = !enabled;
      status.enable(enabled);
    }),
    vscode.workspace.onDidChangeConfiguration(async change => {
      if (change.affectsConfiguration('qwencoder.command')) {
        await restart();
      }
    }),
  );
  await restart();
}

/** Stop the language server. */
export async function deactivate(): Promise<void> {
  await stop();
}

async function stop(): Promise<void> {
  if (client?.isRunning()) {
    await client.stop();
  }
}

function createClient(keys: string[], status: StatusItem, log: vscode.LogOutputChannel): LanguageClient {
  const [command, ...args] = serverCommand();
  const created = new LanguageClient('qwencoder', 'Qwen-Coder', { command, args }, {
    documentSelector: [{ scheme: 'file' }, { scheme: 'untitled' }],
    outputChannel: log,
    middleware: {
      provideInlineCompletionItems: (document, position, request, token, next) => {
        const automatic = request.triggerKind === vscode.InlineCompletionTriggerKind.Automatic;
        return enabled && mayComplete(document, automatic) ? next(document, position, request, token) : undefined;
      },
      provideCompletionItem: (document, position, request, token, next) =>
        enabled && mayComplete(document, false) ? next(document, position, request, token) : undefined,
      workspace: {
        configuration: (params: ConfigurationParams) =>
          params.items.map(item => (item.section === 'qwencoder' ? explicitSettings(keys, item.scopeUri ? vscode.Uri.parse(item.scopeUri) : undefined) : null)),
      },
      executeCommand: (name, given, next) => next(name, name === REVIEW && given.length === 0 ? activeDocument() : given),
    },
  });
  created.onDidChangeState(change => status.connection(change.newState));
  created.onNotification('didChangeStatus', (report: ServerStatus) => status.report(report));
  return created;
}

/** The argument of a review that was chosen from the command palette. */
function activeDocument(): string[] {
  const editor = vscode.window.activeTextEditor;
  return editor ? [editor.document.uri.toString()] : [];
}

async function reportFailure(error: unknown, log: vscode.LogOutputChannel): Promise<void> {
  const [command] = serverCommand();
  log.error(`Cannot start ${command}.`, error instanceof Error ? error : String(error));
  const settings = 'Open settings';
  const choice = await vscode.window.showErrorMessage(
    `Qwen-Coder: "${command}" cannot be started. Install it with "pipx install qwencoder-lsp", or set qwencoder.command.`,
    settings,
    'Show log',
  );
  if (choice === settings) {
    await vscode.commands.executeCommand('workbench.action.openSettings', 'qwencoder.command');
  } else if (choice !== undefined) {
    log.show();
  }
}
