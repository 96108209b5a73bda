import { spawn } from 'node:child_process';
import * as fs from 'node:fs/promises';
import * as readline from 'node:readline';
import * as vscode from 'vscode';
import { environmentDirectory, locateServer, programOf } from './locate';
import { findPython } from './python';
import { serverPackage, setForUser } from './settings';

const STEP = /^(Collecting|Downloading|Building|Installing|Preparing|Processing|Successfully)\b/;
const COMPILER = /CMAKE_C_COMPILER|CMAKE_CXX_COMPILER|CMake Error|No CMAKE_|Microsoft Visual C\+\+/;

/**
 * Install the language server into a virtual environment of its own, or bring the one that is there up to date, after asking.
 * Returns whether there is a server now; the user sees progress, and a failure with its reason.
 */
export async function installServer(context: vscode.ExtensionContext, log: vscode.LogOutputChannel): Promise<boolean> {
  const target = environmentDirectory(context);
  const detail = `pip installs "${serverPackage()}" from your package index into ${target}. If llama.cpp has to be built for this machine, that takes some minutes and a C++ compiler.`;
  if ((await vscode.window.showInformationMessage('Install the language server of Qwen-Coder?', { modal: true, detail }, 'Install')) !== 'Install') {
    return false;
  }
  const problem = await vscode.window.withProgress(
    { location: vscode.ProgressLocation.Notification, title: 'Qwen-Coder: installing the language server', cancellable: true },
    (progress, token) => install(target, context.globalStorageUri.fsPath, log, line => progress.report({ message: line }), token),
  );
  if (problem === '') {
    if (typeof locateServer(context) === 'string') {
      await setForUser('command', undefined); // a command that names no program would hide what was installed
    }
    return true;
  }
  if (problem !== undefined) {
    log.error(problem);
    const choice = await vscode.window.showErrorMessage(`Qwen-Coder: ${problem}`, 'Try again', 'Show log');
    if (choice === 'Try again') {
      return installServer(context, log);
    }
    if (choice === 'Show log') {
      log.show();
    }
  }
  return false;
}

/** Returns what went wrong, an empty text when nothing did, undefined when the user cancelled. */
async function install(
  target: string,
  cwd: string,
  log: vscode.LogOutputChannel,
  report: (line: string) => void,
  token: vscode.CancellationToken,
): Promise<string | undefined> {
  await fs.mkdir(cwd, { recursive: true });
  const python = await findPython();
  if ('problem' in python) {
    return python.problem;
  }
  const existed = await exists(target);
  const steps: [program: string, args: string[]][] = [
    [python.program, ['-I', '-m', 'venv', target]],
    [programOf(target, 'python'), ['-I', '-m', 'pip', 'install', '--disable-pip-version-check', '--no-input', '--progress-bar=off', '--upgrade', serverPackage()]],
    [programOf(target, 'qwencoder-lsp'), ['--help']],
  ];
  for (const [program, args] of steps) {
    log.info(`${program} ${args.join(' ')}`);
    const { code, lines } = await run(program, args, cwd, line => {
      log.info(line);
      if (STEP.test(line)) {
        report(line);
      }
    }, token);
    if (code !== 0) {
      if (!existed) {
        await fs.rm(target, { recursive: true, force: true });
      }
      return token.isCancellationRequested ? undefined : explain(lines);
    }
  }
  return '';
}

/** One sentence for the output of a failed installation, with what to do next. */
function explain(lines: readonly string[]): string {
  if (lines.some(line => COMPILER.test(line))) {
    return 'llama.cpp could not be built. Install a C++ compiler and CMake (on Debian and Ubuntu: sudo apt install build-essential cmake), then try again.';
  }
  const told = lines.filter(line => /^(ERROR|error):/i.test(line)).at(-1) ?? lines.at(-1) ?? 'The program could not be started.';
  return `The installation failed: ${told.replace(/^error: */i, '').replace(/\.?$/, '.')} See the log, or change qwencoder.package.`;
}

function run(
  program: string,
  args: string[],
  cwd: string,
  onLine: (line: string) => void,
  token: vscode.CancellationToken,
): Promise<{ code: number | null; lines: string[] }> {
  return new Promise(resolve => {
    const lines: string[] = [];
    const child = spawn(program, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
    const cancelled = token.onCancellationRequested(() => child.kill());
    const end = (code: number | null): void => {
      cancelled.dispose();
      resolve({ code, lines });
    };
    for (const stream of [child.stdout, child.stderr]) {
      readline.createInterface({ input: stream }).on('line', line => {
        lines.push(line);
        onLine(line);
      });
    }
    child.on('error', error => {
      lines.push(error.message);
      end(null);
    });
    child.on('close', end);
  });
}

async function exists(directory: string): Promise<boolean> {
  return fs.access(directory).then(() => true, () => false);
}
