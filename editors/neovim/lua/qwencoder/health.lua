--- `:checkhealth qwencoder`: what is missing, and how to get it.

local lsp = require('qwencoder.client')

local M = {}

local INSTALL = {
  'Install it: pipx install qwencoder-lsp   (or: uv tool install qwencoder-lsp)',
  "Or name it: require('qwencoder').setup({ cmd = { '/path/to/qwencoder-lsp', '--stdio' } })",
}
local PATIENCE_MS = 20000

local function neovim()
  if vim.fn.has('nvim-0.10') == 0 then
    vim.health.error('Neovim is older than 0.10.', { 'Install Neovim 0.12; 0.10 and 0.11 work too.' })
    return
  end
  local whose = vim.lsp.inline_completion and 'vim.lsp.inline_completion' or 'this plugin; Neovim itself has it from 0.12 on'
  vim.health.ok(('Neovim %s: ghost text by %s'):format(tostring(vim.version()), whose))
end

---@return string[]
local function command()
  local client = vim.lsp.get_clients({ name = 'qwencoder' })[1]
  local config = client and client.config or vim.fn.has('nvim-0.11') == 1 and vim.lsp.config.qwencoder
  local cmd = lsp.cmd or config and config.cmd
  return type(cmd) == 'table' and cmd or { 'qwencoder-lsp', '--stdio' }
end

---@param program string[]
---@return vim.SystemCompleted?
local function run(program)
  local started, process = pcall(vim.system, program, { text = true })
  return started and process:wait(PATIENCE_MS) or nil
end

---@return string[]? # the program without its last argument, nil when it cannot be run
local function server()
  local cmd = command()
  if vim.fn.executable(cmd[1]) == 0 then
    vim.health.error(('The server is missing: %s is not a program.'):format(cmd[1]), INSTALL)
    return nil
  end
  local program = vim.list_slice(cmd, 1, #cmd - 1)
  local answer = run(vim.list_extend(vim.deepcopy(program), { '--version' }))
  if not answer or answer.code ~= 0 then
    local last = vim.trim(answer and answer.stderr or ''):match('[^\n]*$')
    vim.health.error(('The server does not start: %s %s'):format(vim.fn.exepath(cmd[1]), last), INSTALL)
    return nil
  end
  vim.health.ok(('%s at %s'):format(vim.trim(answer.stdout), vim.fn.exepath(cmd[1])))
  return program
end

---@param program string[]
local function model(program)
  local answer = run(vim.list_extend(vim.deepcopy(program), { 'models', 'list', '--json' }))
  local read, rows = pcall(vim.json.decode, answer and answer.stdout or '')
  if not read then
    vim.health.warn('The installed models could not be listed.', { 'Run: qwencoder-lsp models list' })
    return
  end
  local here = {}
  for _, row in ipairs(rows) do
    if row.state == 'installed' and vim.tbl_contains(row.roles, 'completion') then
      table.insert(here, row.name)
    end
  end
  if #here > 0 then
    vim.health.ok('Models for completion: ' .. table.concat(here, ', '))
  else
    vim.health.warn('No model for completion is installed.', { 'Run :QwencoderDownload, or: qwencoder-lsp models pull qwencoder-1.5b' })
  end
end

local function running()
  local clients = vim.lsp.get_clients({ name = 'qwencoder' })
  if #clients == 0 then
    local advice = { "Call require('qwencoder').setup() in your init.lua, and open a file.", 'See :LspLog when it has ended.' }
    vim.health.warn('The server runs for no file of this session.', advice)
    return
  end
  for _, client in ipairs(clients) do
    local answered = nil
    lsp.call(client, 'request', 'qwencoder/status', vim.empty_dict(), function(_, result)
      answered = result
    end)
    vim.wait(5000, function()
      return answered ~= nil
    end, 20)
    if not answered then
      vim.health.error(('Server %d does not answer.'):format(client.id), { 'Run :QwencoderRestart, then see: qwencoder-lsp logs' })
    elseif answered.kind == 'Error' then
      vim.health.error(answered.message, { 'See: qwencoder-lsp logs' })
    elseif answered.kind == 'Warning' then
      vim.health.warn(answered.message, { 'Run :QwencoderDownload' })
    else
      vim.health.ok(answered.message)
    end
    local silence = answered and answered.nothing
    if type(silence) == 'table' then
      vim.health.info(('The latest empty answer: %s (qwencoder-lsp trace last)'):format(silence.reason))
    end
  end
end

local function keys()
  if vim.fn.hasmapto('<Plug>(qwencoder-accept)', 'i') == 1 then
    vim.health.ok('A key is mapped to <Plug>(qwencoder-accept).')
    return
  end
  for _, mapping in ipairs(vim.api.nvim_get_keymap('i')) do
    if mapping.desc == 'Qwen-Coder: accept' then
      vim.health.ok(('%s accepts ghost text.'):format(mapping.lhs))
      return
    end
  end
  vim.health.warn('No key accepts ghost text.', { "vim.keymap.set('i', '<Tab>', '<Plug>(qwencoder-accept)')" })
end

function M.check()
  vim.health.start('qwencoder')
  neovim()
  local program = server()
  if program then
    model(program)
  end
  running()
  keys()
end

return M
