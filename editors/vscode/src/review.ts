import * as vscode from 'vscode';
import { changedFiles } from './git';
import { asRange, activePlace } from './place';
import { Server } from './server';

const REVIEW = 'qwencoder.review';
const REVIEW_CHANGES = 'qwencoder.reviewChanges';

/** Review the file in the active editor; findings appear as problems. */
export async function reviewFile(server: Server): Promise<void> {
  const place = activePlace();
  if (place) {
    await server.command(REVIEW, [place.uri.toString()]);
  }
}

/** Review the selected lines of the active editor. */
export async function reviewSelection(server: Server): Promise<void> {
  const place = activePlace();
  if (place) {
    await server.command(REVIEW, [place.uri.toString(), asRange(place.selection)]);
  }
}

/** Review what differs from the last commit, file by file. Files with findings are opened, since findings live as long as their document. */
export async function reviewChanges(server: Server): Promise<void> {
  const files = await changedFiles();
  if (files.length === 0) {
    void vscode.window.showInformationMessage('Qwen-Coder: nothing differs from the last commit.');
    return;
  }
  const title = 'Qwen-Coder: reviewing changes';
  const found = await vscode.window.withProgress({ location: vscode.ProgressLocation.Notification, title, cancellable: true }, async (progress, token) => {
    let findings = 0;
    for (const [index, uri] of files.entries()) {
      if (token.isCancellationRequested) {
        return undefined;
      }
      progress.report({ message: `${index + 1}/${files.length} ${vscode.workspace.asRelativePath(uri)}`, increment: 100 / files.length });
      const count = await reviewOne(server, uri, token);
      if (count === undefined) {
        return undefined;
      }
      findings += count;
    }
    return findings;
  });
  if (found === 0) {
    void vscode.window.showInformationMessage(`Qwen-Coder found nothing to report in ${files.length === 1 ? 'the changed file' : `${files.length} changed files`}.`);
  } else if (found) {
    await vscode.commands.executeCommand('workbench.actions.view.problems');
  }
}

/** The number of findings in the changes of one file; undefined when the review was cancelled or failed, which the user was told. */
async function reviewOne(server: Server, uri: vscode.Uri, token: vscode.CancellationToken): Promise<number | undefined> {
  const document = await vscode.workspace.openTextDocument(uri);
  const count = await server.command<number | null>(REVIEW_CHANGES, [uri.toString(), false], token).catch((error: unknown) => {
    if (token.isCancellationRequested) {
      return undefined;
    }
    throw error;
  });
  if (count && !vscode.window.visibleTextEditors.some(editor => editor.document === document)) {
    await vscode.window.showTextDocument(document, { preview: false, preserveFocus: true });
  }
  return count ?? undefined;
}

