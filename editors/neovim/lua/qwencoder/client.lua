--- The language client of a buffer, the same on Neovim 0.10 to 0.12, and how it is started again when it dies.

local M = {}

local NAME = 'qwencoder'
local RESTARTS, WITHIN_MS = 5, 180000 -- as VS Code does: a server that dies more often than this is broken

--- How the user wants the server to be started; set by setup().
M.cmd = nil ---@type string[]?

local restarts = {} ---@type number[] when, in ms

---@param bufnr integer?
---@return vim.lsp.Client?
function M.of(bufnr)
  return vim.lsp.get_clients({ bufnr = bufnr or 0, name = NAME })[1]
end

--- Call a method of a client: a field with a function up to 0.10, a method since 0.11.
---@param client vim.lsp.Client
---@param method string
---@return any ...
function M.call(client, method, ...)
  if vim.fn.has('nvim-0.11') == 1 then
    return client[method](client, ...)
  end
  return client[method](...)
end

---@param client vim.lsp.Client
---@param method string
---@param params table
function M.notify(client, method, params)
  M.call(client, 'notify', method, params)
end

--- The byte column of an LSP position in a line.
---@param line string
---@param character integer
---@param encoding string
---@return integer
function M.column(line, character, encoding)
  if encoding == 'utf-8' then
    return math.min(character, #line)
  end
  if vim.fn.has('nvim-0.11') == 1 then
    return vim.str_byteindex(line, encoding, character, false)
  end
  local ok, column = pcall(vim.str_byteindex, line, character, encoding == 'utf-16')
  return ok and column or #line
end

--- Run a command of the server for the current buffer.
---@param command string
---@param arguments any[]
function M.execute(command, arguments)
  local client = M.of()
  if client then
    M.call(client, 'request', 'workspace/executeCommand', { command = command, arguments = arguments })
  else
    vim.notify('Qwen-Coder does not run for this buffer. See :checkhealth qwencoder', vim.log.levels.ERROR)
  end
end

--- Attach every loaded file, starting clients where there are none.
function M.attach_all()
  if vim.fn.has('nvim-0.11') == 1 then
    vim.lsp.enable(NAME) -- looks at all buffers
  else
    vim.cmd.doautoall('qwencoder.start FileType')
  end
end

--- End all clients, then start them again.
function M.restart()
  for _, client in ipairs(vim.lsp.get_clients({ name = NAME })) do
    M.call(client, 'stop')
  end
  restarts = {}
  local function gone()
    return #vim.lsp.get_clients({ name = NAME }) == 0
  end
  vim.wait(3000, gone, 20)
  M.attach_all()
end

--- `on_exit` of the client: a server that was killed or has crashed is started again, unless it keeps dying.
---@param code integer
---@param signal integer
function M.on_exit(code, signal)
  if (code == 0 and signal == 0) or vim.v.exiting ~= vim.NIL then
    return
  end
  local now = vim.uv.now()
  restarts = vim.tbl_filter(function(at)
    return now - at < WITHIN_MS
  end, restarts)
  if #restarts >= RESTARTS then
    vim.schedule(function()
      local text = 'Qwen-Coder has ended %d times and is not started again. See :checkhealth qwencoder; :QwencoderRestart tries again.'
      vim.notify(text:format(RESTARTS + 1), vim.log.levels.ERROR)
    end)
    return
  end
  table.insert(restarts, now)
  vim.defer_fn(M.attach_all, 200) -- the client takes its dead self from the buffers first
end

return M
