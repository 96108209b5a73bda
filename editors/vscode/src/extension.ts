import * as vscode from 'vscode';
import { askForChange, explainCode } from './asking';
import { installServer } from './install';
import { showMenu } from './menu';
import { chooseModel, downloadModel } from './models';
import { reviewChanges, reviewFile, reviewSelection } from './review';
import { Server } from './server';
import { StatusItem } from './status';
import { toggleEverywhere, toggleLanguage, toggleWorkspace } from './switches';
import { TracePage } from './trace';
import { openWalkthrough, welcome } from './welcome';

let server: Server | undefined;

/** Put the extension together, and start the language server. */
export function activate(context: vscode.ExtensionContext): void {
  const log = vscode.window.createOutputChannel('Qwen-Coder', { log: true });
  const running = (server = new Server(context, log));
  const trace = new TracePage(running);
  const commands: Record<string, () => unknown> = {
    'qwencoder.menu': () => showMenu(running),
    'qwencoder.toggle': toggleEverywhere,
    'qwencoder.toggleLanguage': toggleLanguage,
    'qwencoder.toggleWorkspace': toggleWorkspace,
    'qwencoder.reviewFile': () => reviewFile(running),
    'qwencoder.reviewSelection': () => reviewSelection(running),
    'qwencoder.reviewMyChanges': () => reviewChanges(running),
    'qwencoder.askForChange': () => askForChange(running),
    'qwencoder.explainCode': () => explainCode(running),
    'qwencoder.chooseModel': () => chooseModel(running),
    'qwencoder.download': () => downloadModel(running),
    'qwencoder.installServer': async () => (await installServer(context, log)) && running.restart(),
    'qwencoder.restart': () => running.restart(),
    'qwencoder.showTrace': () => trace.show(),
    'qwencoder.showLog': () => log.show(),
    'qwencoder.openSettings': () => vscode.commands.executeCommand('workbench.action.openSettings', `@ext:${context.extension.id}`),
    'qwencoder.openWalkthrough': () => openWalkthrough(context),
  };
  context.subscriptions.push(
    log,
    running,
    trace,
    new StatusItem(running),
    welcome(context, running),
    ...Object.entries(commands).map(([id, run]) => vscode.commands.registerCommand(id, run)),
    vscode.workspace.onDidChangeConfiguration(change => {
      if (change.affectsConfiguration('qwencoder.command')) {
        void running.restart();
      }
    }),
  );
  void running.restart();
}

/** Stop the language server. */
export async function deactivate(): Promise<void> {
  await server?.stop();
}
