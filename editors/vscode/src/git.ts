import * as vscode from 'vscode';

/** The part of VS Code's Git extension that is used here (its extensions/git/src/api/git.d.ts). */
interface GitExtension {
  getAPI(version: 1): { repositories: { state: { workingTreeChanges: Change[]; indexChanges: Change[]; untrackedChanges?: Change[] } }[] };
}

interface Change {
  uri: vscode.Uri;
}

/** The files of this window's repositories that differ from the last commit and are still there; without Git the active file alone. */
export async function changedFiles(): Promise<vscode.Uri[]> {
  const extension = vscode.extensions.getExtension<GitExtension>('vscode.git');
  if (!extension) {
    const active = vscode.window.activeTextEditor?.document.uri;
    return active ? [active] : [];
  }
  const git = (await extension.activate()).getAPI(1);
  const changes = git.repositories.flatMap(({ state }) => [...state.indexChanges, ...state.workingTreeChanges, ...(state.untrackedChanges ?? [])]);
  const byPath = new Map(changes.map(change => [change.uri.fsPath, change.uri]));
  const files: vscode.Uri[] = [];
  for (const uri of byPath.values()) {
    if (await isFile(uri)) {
      files.push(uri);
    }
  }
  return files;
}

async function isFile(uri: vscode.Uri): Promise<boolean> {
  try {
    return (await vscode.workspace.fs.stat(uri)).type === vscode.FileType.File;
  } catch {
    return false; // deleted
  }
}
