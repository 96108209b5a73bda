--- Qwen-Coder in Neovim: starts the language server, shows ghost text and says how things are. `:help qwencoder` has all of it.

local lsp = require('qwencoder.client')
local suggestions = require('qwencoder.suggestion')

local M = {}

---@class qwencoder.Options
---@field cmd string[]? how the server is started
---@field settings table? the server's settings, `{ completion = { max_lines = 6 } }`
---@field filetypes string[]? where it runs; everywhere when not given
---@field filetypes_off string[]? where it runs without ghost text
---@field enabled boolean? whether ghost text is on at first
---@field keymaps table<string, string|false>|false? a key for each of qwencoder.keymaps, or false

local KEYS = {
  accept = '<Tab>',
  accept_word = '<M-Right>',
  accept_line = '<M-Down>',
  next = '<M-]>',
  previous = '<M-[>',
  dismiss = '<C-]>',
  suggest = '<M-Bslash>',
}

local enabled = true
local off = {} ---@type table<string, boolean> file types

local function ghost()
  return require(vim.lsp.inline_completion and 'qwencoder.ghost.builtin' or 'qwencoder.ghost.extmark')
end

--- Whether ghost text is on in a buffer.
---@param bufnr integer?
---@return boolean
function M.is_enabled(bufnr)
  bufnr = bufnr or vim.api.nvim_get_current_buf()
  return enabled and not off[vim.bo[bufnr].filetype] and vim.b[bufnr].qwencoder_enabled ~= false
end

--- Bring the ghost text of a buffer, or of all, to what was chosen.
---@param bufnr integer?
function M.refresh(bufnr)
  for _, one in ipairs(bufnr and { bufnr } or vim.api.nvim_list_bufs()) do
    if vim.api.nvim_buf_is_loaded(one) and lsp.of(one) then
      ghost().enable(M.is_enabled(one), one)
    end
  end
end

--- Switch ghost text over: everywhere, or for this buffer or its file type alone.
---@param scope ''|'buffer'|'filetype'?
---@return boolean # whether it is on now
function M.toggle(scope)
  local bufnr = vim.api.nvim_get_current_buf()
  if scope == 'buffer' then
    vim.b[bufnr].qwencoder_enabled = vim.b[bufnr].qwencoder_enabled == false
  elseif scope == 'filetype' then
    local filetype = vim.bo[bufnr].filetype
    off[filetype] = not off[filetype]
  else
    enabled = not enabled
  end
  M.refresh()
  vim.cmd.redrawstatus()
  return M.is_enabled(bufnr)
end

---@param suggestion qwencoder.Suggestion
---@param method string
---@param params table what to tell besides the suggestion's id
local function tell(suggestion, method, params)
  local client = vim.lsp.get_client_by_id(suggestion.client_id)
  if client and suggestion.id then
    params.id = suggestion.id
    lsp.notify(client, method, params)
  end
end

---@param suggestion qwencoder.Suggestion
---@param rest qwencoder.Rest
---@param text string
local function insert(suggestion, rest, text)
  suggestions.insert(rest, text)
  if text == rest.text then
    lsp.execute('qwencoder.accepted', { suggestion.id })
    return
  end
  local accepted = suggestion.text:sub(1, #suggestion.text - #rest.text + #text)
  local length = vim.fn.strutf16len and vim.fn.strutf16len(accepted) or #accepted
  tell(suggestion, 'qwencoder/didPartiallyAccept', { acceptedLength = length })
end

--- Insert the suggestion, or the first word or line of it.
---@param unit 'word'|'line'|nil
---@return boolean # whether there is one
function M.accept(unit)
  return ghost().take(function(suggestion, rest)
    insert(suggestion, rest, unit and suggestions.first(rest.text, unit) or rest.text)
  end, unit ~= nil)
end

--- Take the suggestion away; it is not offered there again until the line changes.
---@return boolean # whether there is one
function M.dismiss()
  return ghost().take(function(suggestion)
    tell(suggestion, 'qwencoder/didReject', {})
  end)
end

--- Show the next of several suggestions, or with -1 the one before.
---@param count integer?
function M.select(count)
  ghost().select(count or 1)
end

--- Ask for suggestions now.
function M.suggest()
  ghost().suggest()
end

--- The state for a status line: `Qwen`, with what is under way or wrong; empty where the server does not run.
---@return string
function M.status()
  return require('qwencoder.status').line(M.is_enabled())
end

---@param lhs string
---@return fun(): string # what the key does without a suggestion: the mapping that it had, else itself
local function otherwise(lhs)
  local had = vim.fn.maparg(lhs, 'i', false, true)
  local key = lhs == '<Tab>' and '<Plug>(qwencoder-tab)' or lhs
  if vim.tbl_isempty(had) or had.buffer == 1 or (had.desc or ''):find('vim.snippet', 1, true) then
    return function()
      return key
    end
  end
  return function()
    if had.callback and had.expr == 1 then
      return had.callback() or ''
    elseif had.callback then
      vim.schedule(had.callback)
      return ''
    end
    return had.expr == 1 and vim.api.nvim_eval(had.rhs) or had.rhs
  end
end

---@param lhs string
---@param plug string
local function map(lhs, plug)
  local fallback = otherwise(lhs)
  vim.keymap.set('i', lhs, function()
    return M.keys[plug]() and '' or fallback()
  end, { expr = true, remap = true, replace_keycodes = true, desc = 'Qwen-Coder: ' .. plug })
end

--- What keys can do. Each is `<Plug>(qwencoder-NAME)` too; it returns whether it did anything.
---@type table<string, fun(): boolean?>
M.keys = {
  accept = function()
    return M.accept()
  end,
  ['accept-word'] = function()
    return M.accept('word')
  end,
  ['accept-line'] = function()
    return M.accept('line')
  end,
  dismiss = function()
    return M.dismiss()
  end,
  next = function()
    M.select(1)
    return true
  end,
  previous = function()
    M.select(-1)
    return true
  end,
  suggest = function()
    M.suggest()
    return true
  end,
}

---@param options qwencoder.Options
local function start(options)
  lsp.cmd = options.cmd
  local own = { cmd = options.cmd, init_options = options.settings, filetypes = options.filetypes }
  if vim.fn.has('nvim-0.11') == 1 then
    vim.lsp.config('qwencoder', own)
    vim.lsp.enable('qwencoder')
    return
  end
  local shipped = dofile(vim.api.nvim_get_runtime_file('lsp/qwencoder.lua', false)[1])
  local config = vim.tbl_extend('force', shipped, own, { name = 'qwencoder' })
  vim.api.nvim_create_autocmd('FileType', {
    group = vim.api.nvim_create_augroup('qwencoder.start', {}),
    callback = function(event)
      local wanted = not config.filetypes or vim.tbl_contains(config.filetypes, event.match)
      if wanted and vim.bo[event.buf].buftype == '' then
        local root = vim.fs.root(event.buf, config.root_markers)
        vim.lsp.start(vim.tbl_extend('force', config, { root_dir = root }), { bufnr = event.buf })
      end
    end,
  })
  if vim.v.vim_did_enter == 1 then -- otherwise the event is still to come
    lsp.attach_all()
  end
end

--- Start the server for the files of this session, and map the keys.
---@param options qwencoder.Options?
function M.setup(options)
  options = options or {}
  if options.enabled ~= nil then
    enabled = options.enabled
  end
  for _, filetype in ipairs(options.filetypes_off or {}) do
    off[filetype] = true
  end
  if options.keymaps ~= false then
    for name, lhs in pairs(vim.tbl_extend('force', KEYS, options.keymaps or {})) do
      if lhs then
        map(lhs, (name:gsub('_', '-')))
      end
    end
  end
  start(options)
end

return M
