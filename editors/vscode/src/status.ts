import * as vscode from 'vscode';
import { State } from 'vscode-languageclient/node';

/** What the server reports in `didChangeStatus`. */
export interface ServerStatus {
  busy: boolean;
  message: string;
  kind: 'Normal' | 'Error' | 'Warning' | 'Inactive';
}

/** The status bar item: whether the server runs, is busy, or is switched off in this window. A click switches. */
export class StatusItem implements vscode.Disposable {
  private readonly item = vscode.window.createStatusBarItem('qwencoder.status', vscode.StatusBarAlignment.Right, 100);
  private state: State = State.Stopped;
  private server: ServerStatus = { busy: false, message: '', kind: 'Normal' };
  private enabled = true;

  constructor() {
    this.item.name = 'Qwen-Coder';
    this.item.command = 'qwencoder.toggle';
    this.paint();
    this.item.show();
  }

  /** The connection to the server changed. */
  connection(state: State): void {
    this.state = state;
    this.server = { busy: false, message: '', kind: 'Normal' };
    this.paint();
  }

  /** The server told how it is. */
  report(status: ServerStatus): void {
    this.server = status;
    this.paint();
  }

  /** Suggestions were switched on or off. */
  enable(enabled: boolean): void {
    this.enabled = enabled;
    this.paint();
  }

  dispose(): void {
    this.item.dispose();
  }

  private paint(): void {
    const [icon, text] = this.look();
    this.item.text = `$(${icon}) Qwen`;
    this.item.tooltip = text;
    this.item.backgroundColor = icon === 'error' ? new vscode.ThemeColor('statusBarItem.errorBackground') : undefined;
  }

  private look(): [icon: string, text: string] {
    if (this.state === State.Stopped) {
      return ['error', 'The language server is not running.'];
    }
    if (this.state !== State.Running) {
      return ['loading~spin', 'The language server is starting.'];
    }
    if (!this.enabled) {
      return ['circle-slash', 'Suggestions are switched off in this window. Click to switch them on.'];
    }
    const message = this.server.message || 'Ready.';
    switch (this.server.kind) {
      case 'Error':
        return ['error', message];
      case 'Warning':
        return ['warning', message];
      case 'Inactive':
        return ['circle-slash', message];
      default:
        return [this.server.busy ? 'loading~spin' : 'sparkle', message];
    }
  }
}
