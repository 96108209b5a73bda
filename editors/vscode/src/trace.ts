import * as vscode from 'vscode';
import { showPage } from './pages';
import { Server } from './server';

const SCHEME = 'qwencoder-trace';
const LATEST = vscode.Uri.from({ scheme: SCHEME, path: '/Qwen-Coder trace.md' });
const SHOWN = 50;

/** An entry of the server's `qwencoder/trace`: numbers and codes, no source text. */
interface Entry {
  at: number;
  feature: string;
  reason: string;
  detail: string;
  model: string;
  source: string;
  total_ms: number;
  usage: { prompt: number; reused: number; generated: number };
  timings: { gather: number; queue: number; prefill: number; decode: number; finish: number };
}

/** The page that says what became of the latest requests, and why nothing was shown. */
export class TracePage implements vscode.TextDocumentContentProvider, vscode.Disposable {
  private readonly changed = new vscode.EventEmitter<vscode.Uri>();
  readonly onDidChange = this.changed.event;
  private readonly registration = vscode.workspace.registerTextDocumentContentProvider(SCHEME, this);
  private text = '';

  constructor(private readonly server: Server) {}

  provideTextDocumentContent(): string {
    return this.text;
  }

  /** Show the page as it is now. */
  async show(): Promise<void> {
    const entries = await this.server.request<Entry[]>('qwencoder/trace', { limit: SHOWN });
    if (entries) {
      this.text = asMarkdown(entries);
      this.changed.fire(LATEST);
      await showPage(LATEST);
    }
  }

  dispose(): void {
    this.registration.dispose();
    this.changed.dispose();
  }
}

function asMarkdown(entries: readonly Entry[]): string {
  const rows = entries.map(({ at, feature, reason, detail, total_ms, model, source, usage, timings }) => [
    new Date(at * 1000).toLocaleTimeString(undefined, { hour12: false }),
    feature,
    reason + (detail && ` (${detail})`),
    Math.round(total_ms),
    [model, source].filter(Boolean).join(', '),
    `${usage.reused} + ${usage.prompt - usage.reused} → ${usage.generated}`,
    `${Math.round(timings.queue)} + ${Math.round(timings.prefill)} + ${Math.round(timings.decode)}`,
  ]);
  const head = ['Time', 'Request', 'Outcome', 'ms', 'From', 'Tokens', 'Engine ms'];
  const lines = [head, head.map(() => '---'), ...rows].map(cells => `| ${cells.map(cell => String(cell).replaceAll('|', '\\|')).join(' | ')} |`);
  const legend = 'Tokens: reused + read → written. Engine ms: waiting + reading + writing.';
  return `## The latest requests, newest first\n\n${rows.length > 0 ? `${lines.join('\n')}\n\n${legend}` : 'There was none yet.'}\n`;
}
