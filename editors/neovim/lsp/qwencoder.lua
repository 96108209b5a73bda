-- Configuration of qwencoder-lsp for `vim.lsp.enable('qwencoder')` (Neovim 0.11 and newer); the plugin uses it too, on 0.10 as well.
-- Change any field in your init.lua with `vim.lsp.config('qwencoder', { ... })`; settings go into `init_options`.

local found, client = pcall(require, 'qwencoder.client') -- where this file alone was copied, there is no plugin

---@type vim.lsp.Config
return {
  cmd = { 'qwencoder-lsp', '--stdio' },
  root_markers = { '.qwencoder.toml', '.git', 'pyproject.toml', 'package.json', 'go.mod', 'Cargo.toml' },
  init_options = vim.empty_dict(),
  on_attach = function(_, bufnr)
    if vim.lsp.inline_completion and not found then
      vim.lsp.inline_completion.enable(true, { bufnr = bufnr })
    end
  end,
  on_exit = found and client.on_exit or nil,
}
