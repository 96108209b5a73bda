import * as vscode from 'vscode';
import { Server, ServerState } from './server';

interface Entry extends vscode.QuickPickItem {
  command?: string;
}

/** The menu behind the status bar item: first what the state asks for, then what can be done at any time. */
export async function showMenu(server: Server): Promise<void> {
  const choice = await vscode.window.showQuickPick([...urgent(server.state), ...always()], { title: 'Qwen-Coder' });
  if (choice?.command) {
    await vscode.commands.executeCommand(choice.command);
  }
}

function urgent(state: ServerState): Entry[] {
  if (state.kind === 'missing') {
    return [
      entry('cloud-download', 'Install the language server', 'qwencoder.installServer'),
      entry('book', 'Get started', 'qwencoder.openWalkthrough'),
    ];
  }
  if (state.kind === 'failed' || (state.kind === 'running' && state.report?.state === 'error')) {
    return [entry('output', 'Show the log', 'qwencoder.showLog'), entry('debug-restart', 'Restart the language server', 'qwencoder.restart')];
  }
  if (state.kind === 'running' && (state.report?.state === 'missing' || state.report?.state === 'asking')) {
    return [entry('cloud-download', 'Download a model', 'qwencoder.download')];
  }
  return [];
}

function always(): Entry[] {
  const language = vscode.window.activeTextEditor?.document.languageId;
  return [
    separator('Completion'),
    entry('power', 'Switch completion on or off everywhere', 'qwencoder.toggle'),
    ...(language ? [entry('symbol-text', `Switch completion on or off for ${language}`, 'qwencoder.toggleLanguage')] : []),
    ...(vscode.workspace.workspaceFolders ? [entry('folder', 'Switch completion on or off in this workspace', 'qwencoder.toggleWorkspace')] : []),
    entry('search-fuzzy', 'Why did nothing appear?', 'qwencoder.showTrace'),
    separator('Code'),
    entry('comment', 'Ask for a change', 'qwencoder.askForChange'),
    entry('checklist', 'Review this file', 'qwencoder.reviewFile'),
    entry('git-compare', 'Review what differs from the last commit', 'qwencoder.reviewMyChanges'),
    separator('Machine'),
    entry('server-environment', 'Choose a model', 'qwencoder.chooseModel'),
    entry('gear', 'Settings', 'qwencoder.openSettings'),
    entry('debug-restart', 'Restart the language server', 'qwencoder.restart'),
    entry('output', 'Show the log', 'qwencoder.showLog'),
  ];
}

function entry(icon: string, label: string, command: string): Entry {
  return { label: `$(${icon}) ${label}`, command };
}

function separator(label: string): Entry {
  return { label, kind: vscode.QuickPickItemKind.Separator };
}
