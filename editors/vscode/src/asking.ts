import * as vscode from 'vscode';
import { activePlace, asRange } from './place';
import { Server } from './server';

/** Ask in words for a change of the selection, or of the function at the cursor. The edit is applied as one step. */
export async function askForChange(server: Server): Promise<void> {
  const place = activePlace();
  const words = place && (await vscode.window.showInputBox({
    title: 'Qwen-Coder: what shall be changed?',
    prompt: place.selection.isEmpty ? 'In the function at the cursor' : 'In the selection',
    placeHolder: 'return an empty list instead of None',
  }));
  if (place && words?.trim()) {
    await server.command('qwencoder.edit', [place.uri.toString(), asRange(place.selection), words]);
  }
}

/** Explain the selection or the code at the cursor in a page beside it, which grows while the model writes. */
export async function explainCode(server: Server): Promise<void> {
  const place = activePlace();
  if (place) {
    await server.command('qwencoder.explain', [place.uri.toString(), asRange(place.selection)]);
  }
}
