--- A suggestion as arithmetic on the line at the cursor: what of it is left to insert, and how much of that a word or a line is.
---
--- In: an LSP InlineCompletionItem with its byte range. Out: text to insert at the cursor, and the bytes behind the cursor that it replaces.

local M = {}

---@class qwencoder.Suggestion
---@field client_id integer
---@field text string what the item inserts, from the start of its range
---@field row integer the line of its range, from 0
---@field start integer the byte column where its range begins
---@field replaced string what of the line behind the cursor it replaces
---@field id string? what the server calls it

---@class qwencoder.Rest
---@field text string to insert at the cursor
---@field replaced integer bytes behind the cursor that go
---@field row integer from 0
---@field column integer the cursor's byte column

--- The id and the replaced text that the server sends with an item's command.
---@param command lsp.Command?
---@return string? id, string replaced
function M.told(command)
  if not command or command.command ~= 'qwencoder.accepted' then
    return nil, ''
  end
  return command.arguments[1], command.arguments[2] or ''
end

--- What is left of a suggestion at the cursor, after the user has typed on into it.
---@param suggestion qwencoder.Suggestion
---@return qwencoder.Rest? # nil when the typed text has left the suggestion
function M.rest(suggestion)
  local row, column = unpack(vim.api.nvim_win_get_cursor(0))
  local line = vim.api.nvim_get_current_line()
  local typed, replaced = line:sub(suggestion.start + 1, column), suggestion.replaced
  if row - 1 ~= suggestion.row or column < suggestion.start or not vim.startswith(suggestion.text, typed) then
    return nil
  end
  if line:sub(column + 1, column + #replaced) ~= replaced or #typed == #suggestion.text then
    return nil
  end
  return { text = suggestion.text:sub(#typed + 1), replaced = #replaced, row = suggestion.row, column = column }
end

--- The part of a text that one key accepts. Bytes above 127 count as letters, so that no character is cut.
---@param text string
---@param unit 'word'|'line'
---@return string
function M.first(text, unit)
  if unit == 'line' then
    return text:match('^\n?[^\n]+') or text
  end
  return text:match('^%s*[%w_\128-\255]+') or text:match('^%s*[^%w_%s\128-\255]+') or text
end

--- Insert at the cursor, as an undo step of its own, and put the cursor behind it.
---@param rest qwencoder.Rest
---@param text string the rest's text or the beginning of it
function M.insert(rest, text)
  vim.o.undolevels = vim.o.undolevels -- begins a new undo step (:help undo-break)
  local lines = vim.split(text, '\n', { plain = true })
  local behind = text == rest.text and rest.replaced or 0
  vim.api.nvim_buf_set_text(0, rest.row, rest.column, rest.row, rest.column + behind, lines)
  local before = #lines == 1 and rest.column or 0
  vim.api.nvim_win_set_cursor(0, { rest.row + #lines, before + #lines[#lines] })
end

return M
