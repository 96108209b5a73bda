--- Ghost text by Neovim's own `vim.lsp.inline_completion` (0.12 and newer).

local suggestions = require('qwencoder.suggestion')

local M = {}

local INVOKED, AUTOMATIC = 1, 2 -- LSP 3.18, InlineCompletionTriggerKind

--- Neovim's object for a buffer. It is not part of the public API: without it there is no request on demand, each key waits 200 ms, and the rest works.
---@param bufnr integer
---@return table?
local function completor(bufnr)
  local found, capability = pcall(require, 'vim.lsp._capability')
  local class = found and capability.all and capability.all.inline_completion
  return class and class.active and class.active[bufnr]
end

---@param item vim.lsp.inline_completion.Item
---@return qwencoder.Suggestion?
local function read(item)
  if type(item.insert_text) ~= 'string' or not item.range then
    return nil
  end
  local row, start = item.range:to_extmark()
  local id, replaced = suggestions.told(item.command)
  return { client_id = item.client_id, text = item.insert_text, row = row, start = start, replaced = replaced, id = id }
end

--- Ask at each key: Neovim waits 200 ms after one, the server itself waits for as long as it pays.
---@param bufnr integer
local function ask_at_once(bufnr)
  vim.api.nvim_create_autocmd({ 'InsertEnter', 'CursorMovedI', 'TextChangedP' }, {
    group = vim.api.nvim_create_augroup(('qwencoder.ghost.%d'):format(bufnr), {}),
    buffer = bufnr,
    callback = function()
      local own = completor(bufnr)
      if own and own.reset_timer and own.request then
        own:reset_timer()
        own:request(AUTOMATIC)
      end
    end,
  })
end

--- Show ghost text in a buffer from now on, or no more.
---@param enabled boolean
---@param bufnr integer
function M.enable(enabled, bufnr)
  vim.lsp.inline_completion.enable(enabled, { bufnr = bufnr })
  if enabled then
    ask_at_once(bufnr) -- behind Neovim's own commands for these events
  else
    vim.api.nvim_create_augroup(('qwencoder.ghost.%d'):format(bufnr), {})
  end
end

--- Do something with the suggestion on screen, which is taken away.
---@param act fun(suggestion: qwencoder.Suggestion, rest: qwencoder.Rest)
---@return boolean # whether there is one
function M.take(act)
  local own = completor(vim.api.nvim_get_current_buf())
  local shown = own and own.current and read(own.current)
  if shown and not suggestions.rest(shown) then
    return false -- Neovim keeps an older suggestion for a moment, which no longer fits
  end
  return vim.lsp.inline_completion.get({
    on_accept = function(item)
      local suggestion = read(item)
      local rest = suggestion and suggestions.rest(suggestion)
      if not suggestion then
        return item -- of another server, in a form that ours does not send
      end
      if rest then
        act(suggestion, rest)
      end
    end,
  })
end

--- Show another of several suggestions; where there is only one so far, ask for more.
---@param count integer
function M.select(count)
  local own = completor(vim.api.nvim_get_current_buf())
  if own and own:count_items() < 2 then
    return M.suggest()
  end
  vim.lsp.inline_completion.select({ count = count })
end

--- Ask for suggestions now, also where the server would be silent.
function M.suggest()
  local own = completor(vim.api.nvim_get_current_buf())
  if own then
    own:request(INVOKED)
  end
end

return M
