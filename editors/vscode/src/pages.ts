import * as vscode from 'vscode';

const SERVER_SCHEME = 'qwencoder';
const PREVIEW = 'vscode.markdown.preview.editor';

/** Whether a document is one of those whose text the server has, such as an explanation. */
export function isServerPage(uri: vscode.Uri): boolean {
  return uri.scheme === SERVER_SCHEME;
}

/** Show a read-only Markdown document beside the code, rendered; it follows its text. Returns whether it could be shown. */
export async function showPage(uri: vscode.Uri): Promise<boolean> {
  const options: vscode.TextDocumentShowOptions = { viewColumn: vscode.ViewColumn.Beside, preserveFocus: true, preview: true };
  try {
    await vscode.commands.executeCommand('vscode.openWith', uri, PREVIEW, options);
  } catch {
    // Without VS Code's own Markdown extension it is shown as text.
    await vscode.window.showTextDocument(uri, options);
  }
  return true;
}
