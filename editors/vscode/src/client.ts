import * as vscode from 'vscode';
import { CloseAction, ConfigurationParams, LanguageClient, ShowDocumentParams, Trace } from 'vscode-languageclient/node';
import { ServerCommand } from './locate';
import { isServerPage, showPage } from './pages';
import { explicitSettings, mayComplete } from './settings';

/**
 * A client of the language server, not yet started.
 * keys: the settings that the server knows. cwd: not the workspace, whose files must not be taken for programs or modules.
 * answered: called after each answer to a request for ghost text. wanted: whether the client is still the window's, so that its server is started
 * again when it ends.
 */
export function createClient(
  command: ServerCommand,
  cwd: string,
  keys: readonly string[],
  log: vscode.LogOutputChannel,
  { answered, wanted }: { answered: () => void; wanted: () => boolean },
): LanguageClient {
  const client: LanguageClient = new LanguageClient('qwencoder', 'Qwen-Coder', { command: command.program, args: command.args, options: { cwd } }, {
    documentSelector: [{ scheme: 'file' }, { scheme: 'untitled' }],
    outputChannel: log,
    errorHandler: {
      error: (error, message, count) => restarts.error(error, message, count),
      // A restart is shown in the status bar; only the end of the attempts is worth a message.
      closed: async () => ({ handled: true, ...(wanted() ? await restarts.closed() : { action: CloseAction.DoNotRestart }) }),
    },
    middleware: {
      provideInlineCompletionItems: async (document, position, context, token, next) => {
        const automatic = context.triggerKind === vscode.InlineCompletionTriggerKind.Automatic;
        if (!mayComplete(document, automatic)) {
          return undefined;
        }
        try {
          return await next(document, position, context, token);
        } finally {
          answered();
        }
      },
      provideCompletionItem: (document, position, context, token, next) =>
        mayComplete(document, false) ? next(document, position, context, token) : undefined,
      workspace: {
        configuration: (params: ConfigurationParams) =>
          params.items.map(item => (item.section === 'qwencoder' ? explicitSettings(keys, item.scopeUri ? vscode.Uri.parse(item.scopeUri) : undefined) : null)),
      },
      window: {
        showDocument: async (params: ShowDocumentParams, token, next) => {
          const uri = vscode.Uri.parse(params.uri);
          return isServerPage(uri) ? { success: await showPage(uri) } : next(params, token);
        },
      },
    },
  });
  const restarts = client.createDefaultErrorHandler();
  void client.setTrace(Trace.Off); // a trace would write source text into the log
  return client;
}
