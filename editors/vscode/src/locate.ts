import * as fs from 'node:fs';
import * as path from 'node:path';
import * as vscode from 'vscode';
import { configuredCommand } from './settings';

const PROGRAM = 'qwencoder-lsp';
const WINDOWS = process.platform === 'win32';

/** A program that can be started, with its arguments. */
export interface ServerCommand {
  program: string;
  args: string[];
}

/** The directory of the server that the extension has installed, a virtual environment. */
export function environmentDirectory(context: vscode.ExtensionContext): string {
  return path.join(context.globalStorageUri.fsPath, 'server');
}

/** A program of a virtual environment. */
export function programOf(environment: string, name: string): string {
  return WINDOWS ? path.join(environment, 'Scripts', `${name}.exe`) : path.join(environment, 'bin', name);
}

/**
 * How to start the language server: the command of the settings, else the server that the extension has installed, else the one of the PATH.
 * The second value names what was looked for when there is none. Programs are never looked for in the workspace.
 */
export function locateServer(context: vscode.ExtensionContext): ServerCommand | string {
  const configured = configuredCommand();
  if (configured) {
    const [name, ...args] = configured;
    const program = findProgram(name);
    return program ? { program, args } : name;
  }
  const own = programOf(environmentDirectory(context), PROGRAM);
  const program = isProgram(own) ? own : findProgram(PROGRAM);
  return program ? { program, args: ['--stdio'] } : PROGRAM;
}

/** The absolute path of a program, given by an absolute path or by a name on the PATH. */
export function findProgram(name: string): string | undefined {
  if (path.isAbsolute(name)) {
    return isProgram(name) ? name : undefined;
  }
  if (name !== path.basename(name)) {
    return undefined; // relative to which directory?
  }
  const directories = (process.env['PATH'] ?? '').split(path.delimiter).filter(directory => path.isAbsolute(directory));
  const names = WINDOWS && path.extname(name) === '' ? [`${name}.exe`] : [name];
  return directories.flatMap(directory => names.map(file => path.join(directory, file))).find(isProgram);
}

function isProgram(file: string): boolean {
  try {
    fs.accessSync(file, fs.constants.X_OK);
    return fs.statSync(file).isFile();
  } catch {
    return false;
  }
}
