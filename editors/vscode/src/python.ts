import { execFile } from 'node:child_process';
import { findProgram } from './locate';

const NAMES = process.platform === 'win32' ? ['py', 'python'] : ['python3.13', 'python3.12', 'python3.11', 'python3.10', 'python3', 'python'];
const OLDEST = [3, 10] as const;
// -I: no module of the working directory, of the user's site or of PYTHONPATH takes part.
const PROBE = 'import sys, venv, ensurepip; print(*sys.version_info[:2])';

/** What a search for Python ended with: a program that can make virtual environments, or why there is none. */
export type Found = { program: string } | { problem: string };

/** The first Python on the PATH that the server runs on. */
export async function findPython(): Promise<Found> {
  let problem = `Python ${OLDEST.join('.')} or newer was not found. Install it from python.org or with your system's package manager.`;
  for (const program of NAMES.map(findProgram)) {
    if (program === undefined) {
      continue;
    }
    const { version, error } = await probe(program);
    if (version && (version[0] > OLDEST[0] || (version[0] === OLDEST[0] && version[1] >= OLDEST[1]))) {
      return { program };
    }
    if (/ensurepip|venv/.test(error)) {
      problem = `${program} cannot make virtual environments. Install that part of it, on Debian and Ubuntu with: sudo apt install python3-venv`;
    }
  }
  return { problem };
}

function probe(program: string): Promise<{ version?: [number, number]; error: string }> {
  return new Promise(resolve => {
    execFile(program, ['-I', '-c', PROBE], { timeout: 20_000 }, (failure, stdout, stderr) => {
      const [major, minor] = stdout.trim().split(' ').map(Number);
      resolve(failure || major === undefined || minor === undefined ? { error: stderr } : { version: [major, minor], error: '' });
    });
  });
}
