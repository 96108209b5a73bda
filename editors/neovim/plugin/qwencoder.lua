-- Commands and `<Plug>` mappings. Nothing is loaded before the first one is used or a server attaches. `:help qwencoder`

if vim.g.loaded_qwencoder then
  return
end
vim.g.loaded_qwencoder = true

vim.api.nvim_set_hl(0, 'QwencoderGhost', { link = vim.fn.hlexists('ComplHint') == 1 and 'ComplHint' or 'NonText', default = true })
vim.api.nvim_set_hl(0, 'QwencoderGhostMore', { link = vim.fn.hlexists('ComplHintMore') == 1 and 'ComplHintMore' or 'MoreMsg', default = true })

vim.lsp.handlers['qwencoder/status'] = function(...)
  require('qwencoder.status').handler(...)
end
vim.lsp.handlers['didChangeStatus'] = function() end -- the same in the form of Copilot's clients

vim.api.nvim_create_autocmd('LspAttach', {
  group = vim.api.nvim_create_augroup('qwencoder', {}),
  callback = function(event)
    local client = vim.lsp.get_client_by_id(event.data.client_id)
    if client and client.name == 'qwencoder' then
      require('qwencoder').refresh(event.buf)
    end
  end,
})

vim.keymap.set('i', '<Plug>(qwencoder-tab)', function()
  return vim.snippet.active({ direction = 1 }) and '<Cmd>lua vim.snippet.jump(1)<CR>' or '<Tab>'
end, { expr = true, desc = 'What Tab does by default' })

--- What a `<Plug>` mapping is without a suggestion.
local otherwise = {
  accept = '<Plug>(qwencoder-tab)',
  ['accept-word'] = '<C-Right>',
  ['accept-line'] = '<Down>',
  dismiss = '<C-e>',
  next = '',
  previous = '',
  suggest = '',
}
for name, keys in pairs(otherwise) do
  local options = { expr = true, remap = name == 'accept', desc = 'Qwen-Coder: ' .. name .. ' (a mapping target)' }
  vim.keymap.set('i', ('<Plug>(qwencoder-%s)'):format(name), function()
    return require('qwencoder').keys[name]() and '' or keys
  end, options)
end

---@param command string
---@param arguments any[]
local function execute(command, arguments)
  require('qwencoder.client').execute(command, arguments)
end

--- The lines of a command with a range; without one the cursor, which stands for the function around it.
---@param call vim.api.keyset.create_user_command.command_args
---@return lsp.Range
local function place(call)
  local first = { line = call.line1 - 1, character = 0 }
  return { start = first, ['end'] = call.range > 0 and { line = call.line2, character = 0 } or first }
end

---@param name string
---@param description string
---@param run fun(call: vim.api.keyset.create_user_command.command_args)
---@param more table?
local function command(name, description, run, more)
  vim.api.nvim_create_user_command('Qwencoder' .. name, run, vim.tbl_extend('error', { desc = description }, more or {}))
end

command('Review', 'Review the file or the lines', function(call)
  execute('qwencoder.review', { vim.uri_from_bufnr(0), call.range > 0 and place(call) or nil })
end, { range = true })

command('Explain', 'Explain the function or the lines', function(call)
  execute('qwencoder.explain', { vim.uri_from_bufnr(0), place(call) })
end, { range = true })

command('Edit', 'Change the function or the lines as the words say; ask for the words when there are none', function(call)
  local uri, where = vim.uri_from_bufnr(0), place(call)
  local function edit(words)
    if words and words ~= '' then
      execute('qwencoder.edit', { uri, where, words })
    end
  end
  if call.args ~= '' then
    edit(call.args)
  else
    vim.ui.input({ prompt = 'Change: ' }, edit)
  end
end, { range = true, nargs = '*' })

local REFACTORINGS = { 'document', 'fix', 'implement', 'optimise', 'simplify', 'tests', 'types' }

command('Refactor', 'Fix, simplify, document, ... the function or the lines', function(call)
  execute('qwencoder.refactor', { vim.uri_from_bufnr(0), place(call), call.args })
end, {
  range = true,
  nargs = 1,
  complete = function(typed)
    return vim.tbl_filter(function(name)
      return vim.startswith(name, typed)
    end, REFACTORINGS)
  end,
})

command('Download', 'Download the completion model', function()
  execute('qwencoder.downloadModel', {})
end)

command('Toggle', 'Switch ghost text on or off: everywhere, or in this buffer or file type', function(call)
  local on = require('qwencoder').toggle(call.args)
  vim.notify('Qwen-Coder: ghost text is ' .. (on and 'on' or 'off') .. ' here')
end, {
  nargs = '?',
  complete = function()
    return { 'buffer', 'filetype' }
  end,
})

command('Restart', 'End the language server and start it again', function()
  require('qwencoder.client').restart()
end)

command('Status', 'Say what the server does, and why it is silent', function()
  local status = require('qwencoder.status').of()
  vim.notify('Qwen-Coder: ' .. (status and status.message or 'it does not run for this buffer. See :checkhealth qwencoder'))
end)
