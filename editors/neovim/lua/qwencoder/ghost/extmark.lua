--- Ghost text of our own, for Neovim before 0.12: it asks at each key, shows what fits the text at the cursor, and keeps it while the user types into it.

local lsp = require('qwencoder.client')
local suggestions = require('qwencoder.suggestion')

local M = {}

local METHOD = 'textDocument/inlineCompletion'
local INVOKED, AUTOMATIC = 1, 2 -- LSP 3.18, InlineCompletionTriggerKind
local namespace = vim.api.nvim_create_namespace('qwencoder.ghost')

---@class qwencoder.Ghost
---@field group integer the autocommands
---@field found qwencoder.Suggestion[]
---@field index integer
---@field asked string? where and in which text the last request was made
---@field request { client: vim.lsp.Client, id: integer }?
---@field told string? the suggestion that the server knows to be on screen

local ghosts = {} ---@type table<integer, qwencoder.Ghost>

---@param text string
---@return string # Neovim shows a tab of virtual text as ^I
local function spaces(text)
  return (text:gsub('\t', (' '):rep(vim.bo.tabstop)))
end

---@param bufnr integer
local function hide(bufnr)
  vim.api.nvim_buf_clear_namespace(bufnr, namespace, 0, -1)
end

---@param ghost qwencoder.Ghost
local function cancel(ghost)
  local request = ghost.request
  if request and request.client.requests[request.id] then -- an answer may be here whose handler has not run yet
    lsp.call(request.client, 'cancel_request', request.id)
  end
  ghost.request = nil
end

---@param ghost qwencoder.Ghost
---@return qwencoder.Suggestion?, qwencoder.Rest?
local function current(ghost)
  local suggestion = ghost.found[ghost.index]
  return suggestion, suggestion and suggestions.rest(suggestion)
end

---@param bufnr integer
---@param ghost qwencoder.Ghost
---@param count boolean? show which of how many it is
local function show(bufnr, ghost, count)
  hide(bufnr)
  local suggestion, rest = current(ghost)
  if not suggestion or not rest then
    ghost.found = {}
    return
  end
  local lines = vim.split(rest.text, '\n', { plain = true })
  local behind = vim.api.nvim_get_current_line():sub(rest.column + 1, rest.column + rest.replaced)
  local first, position = lines[1], 'inline'
  if behind ~= '' and vim.endswith(first, behind) then
    first = first:sub(1, #first - #behind)
  elseif behind ~= '' then
    position = 'overlay'
  end
  local more = vim.tbl_map(function(line)
    return { { spaces(line), 'QwencoderGhost' } }
  end, vim.list_slice(lines, 2))
  local shown = { { spaces(first), 'QwencoderGhost' } }
  if count then
    table.insert(more[#more] or shown, { (' (%d/%d)'):format(ghost.index, #ghost.found), 'QwencoderGhostMore' })
  end
  local options = { virt_text = shown, virt_lines = more, virt_text_pos = position, hl_mode = 'combine' }
  vim.api.nvim_buf_set_extmark(bufnr, namespace, rest.row, rest.column, options)
  local client = vim.lsp.get_client_by_id(suggestion.client_id)
  if client and suggestion.id and ghost.told ~= suggestion.id then
    ghost.told = suggestion.id
    lsp.notify(client, 'qwencoder/didShow', { id = suggestion.id })
  end
end

---@param bufnr integer
---@param client vim.lsp.Client
---@param item table LSP InlineCompletionItem
---@return qwencoder.Suggestion?
local function read(bufnr, client, item)
  if type(item.insertText) ~= 'string' or not item.range then
    return nil
  end
  local row = item.range.start.line
  local line = vim.api.nvim_buf_get_lines(bufnr, row, row + 1, false)[1] or ''
  local id, replaced = suggestions.told(item.command)
  local start = lsp.column(line, item.range.start.character, client.offset_encoding)
  return { client_id = client.id, text = item.insertText, row = row, start = start, replaced = replaced, id = id }
end

---@param bufnr integer
---@param kind integer
local function request(bufnr, kind)
  local ghost, client = ghosts[bufnr], lsp.of(bufnr)
  if not ghost or not client then
    return
  end
  cancel(ghost)
  local params = vim.lsp.util.make_position_params(0, client.offset_encoding)
  params.context = { triggerKind = kind }
  local mine = {}
  local sent, id = lsp.call(client, 'request', METHOD, params, function(error, result)
    if ghost.request ~= mine then
      return
    end
    ghost.request = nil
    if error or not result or vim.api.nvim_get_current_buf() ~= bufnr or vim.fn.mode():sub(1, 1) ~= 'i' then
      return -- no answer leaves what is shown, an empty one takes it away
    end
    local found = vim.tbl_map(function(item)
      return read(bufnr, client, item)
    end, result.items or result)
    ghost.found, ghost.index = found, 1
    show(bufnr, ghost, kind == INVOKED and #found > 1)
  end, bufnr)
  if sent then
    mine.client, mine.id = client, id
    ghost.request = mine
  end
end

---@param bufnr integer
local function moved(bufnr)
  local ghost = ghosts[bufnr]
  local row, column = unpack(vim.api.nvim_win_get_cursor(0))
  local here = ('%d:%d:%d'):format(vim.api.nvim_buf_get_changedtick(bufnr), row, column)
  if here == ghost.asked then
    return -- one key makes up to two events
  end
  ghost.asked = here
  show(bufnr, ghost)
  request(bufnr, AUTOMATIC)
end

---@param bufnr integer
local function clear(bufnr)
  local ghost = ghosts[bufnr]
  if ghost then
    cancel(ghost)
    ghost.found, ghost.asked = {}, nil
  end
  hide(bufnr)
end

--- Show ghost text in a buffer from now on, or no more.
---@param enabled boolean
---@param bufnr integer
function M.enable(enabled, bufnr)
  local ghost = ghosts[bufnr]
  if enabled and not ghost then
    local group = vim.api.nvim_create_augroup(('qwencoder.ghost.%d'):format(bufnr), {})
    ghosts[bufnr] = { group = group, found = {}, index = 1 }
    local function on(events, callback)
      vim.api.nvim_create_autocmd(events, { group = group, buffer = bufnr, callback = callback })
    end
    on({ 'InsertEnter', 'CursorMovedI', 'TextChangedI', 'TextChangedP' }, function()
      moved(bufnr)
    end)
    on('InsertLeave', function()
      clear(bufnr)
    end)
    on('BufWipeout', function()
      M.enable(false, bufnr)
    end)
  elseif not enabled and ghost then
    clear(bufnr)
    vim.api.nvim_del_augroup_by_id(ghost.group)
    ghosts[bufnr] = nil
  end
end

--- Do something with the suggestion on screen, which is taken away.
---@param act fun(suggestion: qwencoder.Suggestion, rest: qwencoder.Rest)
---@param keep boolean? what is left of it stays on screen
---@return boolean # whether there is one
function M.take(act, keep)
  local bufnr = vim.api.nvim_get_current_buf()
  local ghost = ghosts[bufnr]
  if not ghost or not select(2, current(ghost)) then
    return false
  end
  -- Mappings with <expr> may not change text, and are evaluated while the characters typed before them are not in it yet.
  vim.schedule(function()
    local suggestion, rest = current(ghost)
    if not keep then
      clear(bufnr)
    end
    if suggestion and rest then
      act(suggestion, rest)
    end
  end)
  return true
end

--- Show another of several suggestions; where there is only one so far, ask for more.
---@param count integer
function M.select(count)
  local bufnr = vim.api.nvim_get_current_buf()
  local ghost = ghosts[bufnr]
  if not ghost then
    return
  end
  if #ghost.found < 2 then
    return M.suggest()
  end
  ghost.index = (ghost.index - 1 + count) % #ghost.found + 1
  show(bufnr, ghost, true)
end

--- Ask for suggestions now, also where the server would be silent.
function M.suggest()
  request(vim.api.nvim_get_current_buf(), INVOKED)
end

return M
