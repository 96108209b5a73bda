import * as vscode from 'vscode';

/** Where the user is: the document of the active editor and what is selected in it. Tells the user when there is none. */
export function activePlace(): { uri: vscode.Uri; selection: vscode.Selection } | undefined {
  const editor = vscode.window.activeTextEditor;
  if (!editor) {
    void vscode.window.showInformationMessage('Qwen-Coder: open a file first.');
    return undefined;
  }
  return { uri: editor.document.uri, selection: editor.selection };
}

/** A range as the server's commands take it. */
export function asRange(range: vscode.Range): object {
  const { start, end } = range;
  return { start: { line: start.line, character: start.character }, end: { line: end.line, character: end.character } };
}
