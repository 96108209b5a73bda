-- Written by `qwencoder-lsp setup neovim`. `qwencoder-lsp setup neovim --undo` takes it away.
local plugin = "@FILES@"
if not vim.uv.fs_stat(plugin) then
  vim.notify('qwencoder-lsp is not in ' .. plugin .. ' any more. Install it and run: qwencoder-lsp setup neovim', vim.log.levels.WARN)
  return
end
vim.opt.runtimepath:append(plugin)
vim.cmd.source(plugin .. '/plugin/qwencoder.lua')
require('qwencoder').setup({ cmd = { @COMMAND@ } })
