import * as vscode from 'vscode';
import { Server, ServerState } from './server';
import { mayComplete } from './settings';

/** How a state looks: an icon, a word or two behind the name, a sentence, and whether it needs the user. */
interface Look {
  icon: string;
  word: string;
  sentence: string;
  alarm?: 'error' | 'warning';
}

/** The status bar item: the state, the model, the latest latency, the reason for silence. A click opens the menu. */
export class StatusItem implements vscode.Disposable {
  private readonly item = vscode.window.createStatusBarItem('qwencoder.status', vscode.StatusBarAlignment.Right, 100);
  private readonly listeners: vscode.Disposable[];

  constructor(private readonly server: Server) {
    this.item.name = 'Qwen-Coder';
    this.item.command = 'qwencoder.menu';
    const paint = (): void => this.paint();
    this.listeners = [
      server.onDidChange(paint),
      vscode.window.onDidChangeActiveTextEditor(paint),
      vscode.workspace.onDidChangeConfiguration(change => change.affectsConfiguration('qwencoder.completion') && this.paint()),
    ];
    this.paint();
    this.item.show();
  }

  dispose(): void {
    vscode.Disposable.from(this.item, ...this.listeners).dispose();
  }

  private paint(): void {
    const document = vscode.window.activeTextEditor?.document;
    const look = lookOf(this.server.state, document === undefined || mayComplete(document, false));
    const lines = [look.sentence, ...latest(this.server.state)];
    this.item.text = `$(${look.icon}) Qwen${look.word && `: ${look.word}`}`;
    this.item.accessibilityInformation = { label: `Qwen-Coder: ${lines.join(' ')}` };
    this.item.tooltip = tooltip(lines);
    this.item.backgroundColor = look.alarm && new vscode.ThemeColor(`statusBarItem.${look.alarm}Background`);
  }
}

function lookOf(state: ServerState, on: boolean): Look {
  switch (state.kind) {
    case 'missing':
      return { icon: 'circle-slash', word: 'no server', sentence: `The language server, ${state.program}, was not found. Click to install it.`, alarm: 'warning' };
    case 'failed':
      return { icon: 'error', word: 'error', sentence: `${state.why} Click to see the log or to start it again.`, alarm: 'error' };
    case 'starting':
      return { icon: 'loading~spin', word: '', sentence: 'The language server is starting.' };
    case 'running':
      break;
  }
  const sentence = state.report?.message ?? 'Starting.';
  switch (state.report?.state) {
    case 'error':
      return { icon: 'error', word: 'error', sentence, alarm: 'error' };
    case 'missing':
      return { icon: 'question', word: 'no model', sentence: `${sentence} Click to download one.`, alarm: 'warning' };
    case 'asking':
      return { icon: 'question', word: 'download?', sentence, alarm: 'warning' };
    case 'downloading':
      return { icon: 'loading~spin', word: `${state.report.percentage ?? 0} %`, sentence };
    case 'loading':
      return { icon: 'loading~spin', word: 'loading', sentence };
    case 'ready':
    case 'ended':
      return on
        ? { icon: 'sparkle', word: '', sentence }
        : { icon: 'circle-slash', word: 'off', sentence: 'Completion is switched off here. Click to switch it on.' };
    default:
      return { icon: 'loading~spin', word: '', sentence };
  }
}

/** What became of the latest request for ghost text. */
function latest(state: ServerState): string[] {
  const last = state.kind === 'running' ? state.report?.last : undefined;
  if (!last) {
    return [];
  }
  const time = `${Math.round(last.total_ms)} ms`;
  return [last.reason === 'shown' ? `Latest suggestion: ${time}, ${last.model}.` : `Latest answer: none, ${last.reason} (${time}).`];
}

function tooltip(lines: readonly string[]): vscode.MarkdownString {
  const text = new vscode.MarkdownString();
  for (const line of ['Qwen-Coder', ...lines]) {
    text.appendText(line).appendMarkdown('\n\n');
  }
  return text;
}
