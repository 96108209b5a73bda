import * as fs from 'node:fs/promises';
import * as vscode from 'vscode';
import { CancellationToken, ExecuteCommandRequest, LanguageClient, State } from 'vscode-languageclient/node';
import { createClient } from './client';
import { locateServer } from './locate';
import { declaredKeys } from './settings';

/** What the server reports about itself in `qwencoder/status`. */
export interface Report {
  state: 'starting' | 'ready' | 'loading' | 'missing' | 'asking' | 'downloading' | 'error' | 'ended';
  busy: boolean;
  message: string;
  percentage?: number;
  last: { reason: string; detail: string; model: string; total_ms: number } | null;
}

/** Whether there is a language server and how it is. `missing` names the program that was not found, `failed` says why it does not run. */
export type ServerState =
  | { kind: 'missing'; program: string }
  | { kind: 'starting' }
  | { kind: 'failed'; why: string }
  | { kind: 'running'; report: Report | undefined };

const REFRESH_MS = 300;
const ABANDON_MS = 100;
const START_MS = 60_000; // a slow disk with a cold cache takes some seconds

/** The language server of this window: found, started, started again, asked. `onDidChange` fires with each new state. */
export class Server implements vscode.Disposable {
  private readonly changed = new vscode.EventEmitter<ServerState>();
  readonly onDidChange = this.changed.event;
  private client: LanguageClient | undefined;
  private current: ServerState = { kind: 'starting' };
  private last: Promise<void> = Promise.resolve();
  private turn = 0;
  private refresh: NodeJS.Timeout | undefined;

  constructor(
    private readonly context: vscode.ExtensionContext,
    private readonly log: vscode.LogOutputChannel,
  ) {}

  get state(): ServerState {
    return this.current;
  }

  /** Stop the server if it runs, and start it as the settings say now. One call after the other, but not after a server that does not answer. */
  restart(): Promise<void> {
    this.abandonStarting();
    const turn = ++this.turn;
    return (this.last = this.last.then(async () => {
      await this.end();
      await this.start(() => turn === this.turn);
    }));
  }

  /** Stop the server. */
  async stop(): Promise<void> {
    this.abandonStarting();
    this.turn++;
    await this.last;
    await this.end();
  }

  /** The answer to a command of the server. Undefined, after telling the user, when no server runs. */
  async command<T>(command: string, args: unknown[], token?: CancellationToken): Promise<T | undefined> {
    return this.ask(client => client.sendRequest(ExecuteCommandRequest.type, { command, arguments: args }, token) as Promise<T>);
  }

  /** The answer to a request of the server's own. Undefined, after telling the user, when no server runs. */
  async request<T>(method: string, params: object = {}): Promise<T | undefined> {
    return this.ask(client => client.sendRequest<T>(method, params));
  }

  dispose(): void {
    clearTimeout(this.refresh);
    this.changed.dispose();
  }

  private async ask<T>(question: (client: LanguageClient) => Promise<T>): Promise<T | undefined> {
    if (this.client?.isRunning()) {
      return question(this.client);
    }
    const install = this.current.kind === 'missing' ? 'Install' : 'Restart';
    const choice = await vscode.window.showWarningMessage('Qwen-Coder: the language server does not run.', install, 'Show log');
    if (choice !== undefined) {
      await vscode.commands.executeCommand({ Install: 'qwencoder.installServer', Restart: 'qwencoder.restart', 'Show log': 'qwencoder.showLog' }[choice] ?? '');
    }
    return undefined;
  }

  /** latest: whether no other start was asked for meanwhile; that one finds what the settings say then. */
  private async start(latest: () => boolean): Promise<void> {
    const command = locateServer(this.context);
    if (typeof command === 'string') {
      this.log.info(`${command} was not found.`);
      this.become({ kind: 'missing', program: command });
      return;
    }
    const cwd = this.context.globalStorageUri.fsPath;
    await fs.mkdir(cwd, { recursive: true });
    if (!latest()) {
      return;
    }
    this.log.info(`Starting ${command.program}`);
    const client: LanguageClient = createClient(command, cwd, declaredKeys(this.context.extension.packageJSON), this.log, {
      answered: () => this.refreshSoon(),
      wanted: () => this.client === client,
    });
    this.client = client;
    client.onDidChangeState(change => this.client === client && this.connection(change.newState));
    client.onNotification('qwencoder/status', (report: Report) => this.become({ kind: 'running', report }));
    client.onNotification('didChangeStatus', () => undefined); // the same in the words of Copilot's server
    const late = setTimeout(() => {
      if (this.client === client && this.current.kind === 'starting') {
        this.become({ kind: 'failed', why: `${command.program} was started and has not answered for ${START_MS / 1000} s.` });
      }
    }, START_MS);
    try {
      await client.start();
    } catch (error) {
      if (this.client === client) {
        this.become({ kind: 'failed', why: error instanceof Error ? error.message : String(error) });
      }
    } finally {
      clearTimeout(late);
    }
  }

  /** End the client if it waits for its server's first answer: it cannot be stopped, but its pipes can be closed. */
  private abandonStarting(): void {
    if (this.client?.needsStop() && !this.client.isRunning()) {
      this.abandon(this.client);
    }
  }

  private abandon(client: LanguageClient): void {
    this.client = this.client === client ? undefined : this.client;
    const process = client.serverProcess;
    if (process) {
      process.stdin?.destroy();
      process.stdout?.destroy();
      process.kill('SIGKILL');
    } else if (client.needsStop()) {
      setTimeout(() => this.abandon(client), ABANDON_MS); // it is just about to start its server
    }
  }

  private async end(): Promise<void> {
    const client = this.client;
    this.client = undefined;
    // A client that did not start cannot be stopped, and says so by an error; a server that does not answer is left to end by itself.
    await client?.dispose().catch((error: unknown) => this.log.info(`The server was not stopped: ${String(error)}`));
  }

  private connection(state: State): void {
    if (state === State.Running) {
      this.become({ kind: 'running', report: undefined });
    } else if (state === State.Stopped) {
      this.become({ kind: 'failed', why: 'The language server has ended.' });
    } else {
      this.become({ kind: 'starting' });
    }
  }

  /** Learn what became of the latest completion, once the typing pauses. */
  private refreshSoon(): void {
    clearTimeout(this.refresh);
    this.refresh = setTimeout(() => {
      if (this.client?.isRunning()) {
        this.client.sendRequest<Report>('qwencoder/status', {}).then(
          report => this.become({ kind: 'running', report }),
          () => undefined, // it has just ended, which is shown already
        );
      }
    }, REFRESH_MS);
  }

  private become(state: ServerState): void {
    this.current = state;
    this.changed.fire(state);
  }
}
