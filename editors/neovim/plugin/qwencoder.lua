-- Maps `<Plug>(qwencoder-accept)`: insert the ghost text; without ghost text it does what Tab does by default.
-- Maps `<Plug>(qwencoder-accept-word)`: insert its next word, else CTRL-Right; `<Plug>(qwencoder-dismiss)`: take it away, else CTRL-E.
-- Commands: `:[range]QwencoderReview` reviews the file or the lines, `:[range]QwencoderExplain` explains the function or the lines,
-- `:[range]QwencoderEdit WORDS` changes them as the words say, `:QwencoderDownload` fetches the completion model.

--- What is left of a suggestion when the user typed on after it was made.
---
--- Neovim asks again 200 ms after a key and shows the older suggestion meanwhile, but accepting that one would insert the typed characters twice.
---@param item vim.lsp.inline_completion.Item
---@return vim.lsp.inline_completion.Item? # nil when the typed text has left the suggestion
local function continued(item)
  if not item.range or type(item.insert_text) ~= 'string' then
    return item
  end
  local row, column = unpack(vim.api.nvim_win_get_cursor(0))
  local _, start_column, end_row, end_column = item.range:to_extmark()
  if row - 1 == end_row and column <= end_column then
    return item
  end
  local typed = vim.api.nvim_get_current_line():sub(start_column + 1, column)
  if row - 1 ~= end_row or not vim.startswith(item.insert_text, typed) then
    return nil
  end
  item.insert_text, item.range = item.insert_text:sub(#typed + 1), nil
  return item
end

vim.keymap.set('i', '<Plug>(qwencoder-accept)', function()
  if vim.lsp.inline_completion and vim.lsp.inline_completion.get({ on_accept = continued }) then
    return ''
  end
  return vim.snippet.active({ direction = 1 }) and '<Cmd>lua vim.snippet.jump(1)<CR>' or '<Tab>'
end, { expr = true, desc = 'Accept the ghost text, or Tab' })

---@param item vim.lsp.inline_completion.Item
---@param method string
---@param params table what to tell besides the suggestion's id
local function tell(item, method, params)
  local client = vim.lsp.get_client_by_id(item.client_id)
  if client and item.command and item.command.command == 'qwencoder.accepted' then
    params.id = item.command.arguments[1]
    client:notify(method, params)
  end
end

--- Insert the next word of a suggestion.
---@param item vim.lsp.inline_completion.Item
---@return vim.lsp.inline_completion.Item? # the item when nothing would be left of it
local function next_word(item)
  local whole = item.insert_text
  local left = continued(item)
  if not left or type(whole) ~= 'string' then
    return left
  end
  local row, column = unpack(vim.api.nvim_win_get_cursor(0))
  local rest = left.insert_text
  if left.range then
    local _, start_column = left.range:to_extmark()
    rest = rest:sub(column - start_column + 1)
  end
  local word = rest:match('^%s*[%w_\128-\255]+') or rest:match('^%s*[^%w_%s\128-\255]+') or rest
  if word == rest then
    return left
  end
  local lines = vim.split(word, '\n')
  vim.api.nvim_buf_set_text(0, row - 1, column, row - 1, column, lines)
  vim.api.nvim_win_set_cursor(0, { row + #lines - 1, (#lines == 1 and column or 0) + #lines[#lines] })
  local accepted = whole:sub(1, #whole - #rest + #word)
  tell(item, 'qwencoder/didPartiallyAccept', { acceptedLength = vim.str_utfindex(accepted, 'utf-16') })
end

vim.keymap.set('i', '<Plug>(qwencoder-accept-word)', function()
  return vim.lsp.inline_completion and vim.lsp.inline_completion.get({ on_accept = next_word }) and '' or '<C-Right>'
end, { expr = true, desc = 'Accept the next word of the ghost text, or CTRL-Right' })

vim.keymap.set('i', '<Plug>(qwencoder-dismiss)', function()
  local function dismiss(item)
    tell(item, 'qwencoder/didReject', {})
  end
  return vim.lsp.inline_completion and vim.lsp.inline_completion.get({ on_accept = dismiss }) and '' or '<C-e>'
end, { expr = true, desc = 'Take the ghost text away, and do not offer it here again' })

---@param command string
---@param arguments any[]
local function execute(command, arguments)
  local client = vim.lsp.get_clients({ bufnr = 0, name = 'qwencoder' })[1]
  if client then
    client:exec_cmd({ title = command, command = command, arguments = arguments })
  else
    vim.notify('Qwen-Coder does not run for this buffer. See :checkhealth vim.lsp', vim.log.levels.ERROR)
  end
end

--- The lines of a command with a range; without one the cursor, which stands for the function around it.
---@param call vim.api.keyset.create_user_command.command_args
---@return lsp.Range
local function place(call)
  local first = { line = call.line1 - 1, character = 0 }
  return { start = first, ['end'] = call.range > 0 and { line = call.line2, character = 0 } or first }
end

vim.api.nvim_create_user_command('QwencoderReview', function(call)
  execute('qwencoder.review', { vim.uri_from_bufnr(0), call.range > 0 and place(call) or nil })
end, { range = true, desc = 'Review the file or the lines' })

vim.api.nvim_create_user_command('QwencoderExplain', function(call)
  execute('qwencoder.explain', { vim.uri_from_bufnr(0), place(call) })
end, { range = true, desc = 'Explain the function or the lines' })

vim.api.nvim_create_user_command('QwencoderEdit', function(call)
  execute('qwencoder.edit', { vim.uri_from_bufnr(0), place(call), call.args })
end, { range = true, nargs = '+', desc = 'Change the function or the lines as the words say' })

vim.api.nvim_create_user_command('QwencoderDownload', function()
  execute('qwencoder.downloadModel', {})
end, { desc = 'Download the completion model' })
