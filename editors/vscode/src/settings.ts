import * as vscode from 'vscode';

const SECTION = 'qwencoder';

export type Tree = Record<string, Record<string, unknown>>;

/** The command that starts the language server: program and arguments. */
export function serverCommand(): [string, ...string[]] {
  const [command, ...args] = vscode.workspace.getConfiguration(SECTION).get<string[]>('command', []);
  return [command ?? 'qwencoder-lsp', ...args];
}

/**
 * The settings that somebody has set, as `{section: {field: value}}`, in the form that the server reads.
 * Defaults stay out: sent along, they would hide the user's settings file and environment.
 */
export function explicitSettings(keys: readonly string[], scope?: vscode.Uri): Tree {
  const configuration = vscode.workspace.getConfiguration(SECTION, scope ?? null);
  const tree: Tree = {};
  for (const key of keys) {
    const [section, field] = key.split('.');
    const layers = configuration.inspect(key);
    if (section === undefined || field === undefined || layers === undefined) {
      continue;
    }
    if ([layers.globalValue, layers.workspaceValue, layers.workspaceFolderValue].some(value => value !== undefined)) {
      (tree[section] ??= {})[field] = configuration.get(key);
    }
  }
  return tree;
}

/** The setting keys without "qwencoder." that the extension's package.json declares for the server. */
export function declaredKeys(packageJson: { contributes: { configuration: { properties: object } } }): string[] {
  return Object.keys(packageJson.contributes.configuration.properties)
    .map(key => key.slice(SECTION.length + 1))
    .filter(key => key.includes('.'));
}

/** Whether a document's language allows completion; `automatic` asks for ghost text while typing. */
export function mayComplete(document: vscode.TextDocument, automatic: boolean): boolean {
  const configuration = vscode.workspace.getConfiguration(SECTION, document);
  return configuration.get('completion.enabled', true) && (!automatic || configuration.get('completion.automatic', true));
}
