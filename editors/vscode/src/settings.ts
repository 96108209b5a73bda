import * as vscode from 'vscode';

const SECTION = 'qwencoder';
const ENABLED = 'completion.enabled';
const AUTOMATIC = 'completion.automatic';

export type Tree = Record<string, Record<string, unknown>>;

/** The command that the user has set for the language server: program and arguments. */
export function configuredCommand(): [string, ...string[]] | undefined {
  const [program, ...args] = vscode.workspace.getConfiguration(SECTION).get<string[] | null>('command') ?? [];
  return program === undefined ? undefined : [program, ...args];
}

/** What pip installs as the language server. */
export function serverPackage(): string {
  return vscode.workspace.getConfiguration(SECTION).get('package', 'qwencoder-lsp');
}

/**
 * The settings that somebody has set, as `{section: {field: value}}`, in the form that the server reads.
 * Defaults stay out: sent along, they would hide the user's settings file and environment.
 * Where a language may differ the server gets "on" if any language has it on: `mayComplete` decides per document.
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
    const languages = layers.languageIds ?? [];
    if (languages.length > 0 || [layers.globalValue, layers.workspaceValue, layers.workspaceFolderValue].some(value => value !== undefined)) {
      (tree[section] ??= {})[field] = languages.some(language => forLanguage(key, language, scope) === true) || configuration.get(key);
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
  return (nearest(configuration, ENABLED) ?? true) && (!automatic || (nearest(configuration, AUTOMATIC) ?? true));
}

/**
 * What the nearest place says of a setting that a language may differ in, there for the language before in general; undefined where nobody says anything.
 * VS Code itself lets the user's setting for a language outdo a workspace.
 */
function nearest(configuration: vscode.WorkspaceConfiguration, key: string): boolean | undefined {
  const layers = configuration.inspect<boolean>(key);
  const folder = layers?.workspaceFolderLanguageValue ?? layers?.workspaceFolderValue;
  return folder ?? layers?.workspaceLanguageValue ?? layers?.workspaceValue ?? layers?.globalLanguageValue ?? layers?.globalValue;
}

/** Set a setting of the user for this machine. */
export async function setForUser(key: string, value: unknown): Promise<void> {
  await vscode.workspace.getConfiguration(SECTION).update(key, value, vscode.ConfigurationTarget.Global);
}

/** Switch completion on or off: everywhere, in this workspace, or everywhere for one language. Returns whether it is on there now. */
export async function switchCompletion(where: 'everywhere' | 'workspace' | { language: string }): Promise<boolean> {
  if (typeof where === 'object') {
    const configuration = vscode.workspace.getConfiguration(SECTION, { languageId: where.language });
    const layers = configuration.inspect<boolean>(ENABLED);
    const on = !(layers?.globalLanguageValue ?? layers?.globalValue ?? true);
    await configuration.update(ENABLED, on, vscode.ConfigurationTarget.Global, true);
    return on;
  }
  const configuration = vscode.workspace.getConfiguration(SECTION);
  const layers = configuration.inspect<boolean>(ENABLED);
  const general = layers?.globalValue ?? true;
  const on = where === 'everywhere' ? !general : !(layers?.workspaceValue ?? general);
  await configuration.update(ENABLED, on, where === 'everywhere' ? vscode.ConfigurationTarget.Global : vscode.ConfigurationTarget.Workspace);
  return on;
}

function forLanguage(key: string, languageId: string, uri: vscode.Uri | undefined): boolean | undefined {
  return nearest(vscode.workspace.getConfiguration(SECTION, uri ? { uri, languageId } : { languageId }), key);
}
