--- What the server last said about its state (`qwencoder/status`), and that as one line.

local lsp = require('qwencoder.client')

local M = {}

---@class qwencoder.Status
---@field kind 'Normal'|'Warning'|'Error'|'Inactive'
---@field busy boolean
---@field message string

local last = {} ---@type table<integer, qwencoder.Status> by client

--- Handler of the notification: keeps it, redraws status lines, and fires `User QwencoderStatus`.
function M.handler(_, status, context)
  last[context.client_id] = status
  vim.schedule(function()
    vim.cmd.redrawstatus({ bang = true })
    vim.api.nvim_exec_autocmds('User', { pattern = 'QwencoderStatus', data = status, modeline = false })
  end)
end

---@param bufnr integer?
---@return qwencoder.Status? # nil where no server runs
function M.of(bufnr)
  local client = lsp.of(bufnr)
  return client and (last[client.id] or { kind = 'Inactive', busy = true, message = 'Starting.' })
end

---@param enabled boolean whether ghost text is on in the current buffer
---@return string
function M.line(enabled)
  local status = M.of()
  if not status then
    return ''
  elseif status.busy or status.kind ~= 'Normal' then
    return 'Qwen: ' .. status.message
  end
  return enabled and 'Qwen' or 'Qwen off'
end

return M
