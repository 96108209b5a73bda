import * as vscode from 'vscode';
import { Server } from './server';

const WALKTHROUGH = 'start';
const WELCOMED = 'welcomed';

/** Open the walkthrough. */
export async function openWalkthrough(context: vscode.ExtensionContext): Promise<void> {
  await vscode.commands.executeCommand('workbench.action.openWalkthrough', `${context.extension.id}#${WALKTHROUGH}`, false);
}

/** Keep the walkthrough's steps in line with the server's state, and open it the first time that there is no server. */
export function welcome(context: vscode.ExtensionContext, server: Server): vscode.Disposable {
  return server.onDidChange(state => {
    const report = state.kind === 'running' ? state.report : undefined;
    void vscode.commands.executeCommand('setContext', 'qwencoder.serverFound', state.kind !== 'missing');
    void vscode.commands.executeCommand('setContext', 'qwencoder.modelReady', report?.state === 'ready' || report?.state === 'loading');
    if (state.kind === 'missing' && !context.globalState.get(WELCOMED, false)) {
      void context.globalState.update(WELCOMED, true);
      void openWalkthrough(context);
    }
  });
}
