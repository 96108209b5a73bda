import * as vscode from 'vscode';
import { switchCompletion } from './settings';

/** Switch completion on or off everywhere. */
export async function toggleEverywhere(): Promise<void> {
  tell(await switchCompletion('everywhere'), 'everywhere');
}

/** Switch completion on or off for the language of the active editor. */
export async function toggleLanguage(): Promise<void> {
  const language = vscode.window.activeTextEditor?.document.languageId;
  if (language) {
    tell(await switchCompletion({ language }), `for ${language}`);
  }
}

/** Switch completion on or off in this workspace. */
export async function toggleWorkspace(): Promise<void> {
  tell(await switchCompletion('workspace'), 'in this workspace');
}

function tell(on: boolean, where: string): void {
  if (!on) {
    void vscode.commands.executeCommand('editor.action.inlineSuggest.hide');
  }
  vscode.window.setStatusBarMessage(`Qwen-Coder: completion is ${on ? 'on' : 'off'} ${where}`, 4000);
}
