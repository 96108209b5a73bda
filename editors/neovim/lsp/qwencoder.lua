-- Configuration of qwencoder-lsp for `vim.lsp.enable('qwencoder')` (Neovim 0.11 or newer; ghost text from 0.12 on).
-- Change any field in your init.lua with `vim.lsp.config('qwencoder', { ... })`; settings go into `init_options`.

---@type vim.lsp.Config
return {
  cmd = { 'qwencoder-lsp', '--stdio' },
  root_markers = { '.qwencoder.toml', '.git', 'pyproject.toml', 'package.json', 'go.mod', 'Cargo.toml' },
  init_options = vim.empty_dict(),
  on_attach = function(_, bufnr)
    if vim.lsp.inline_completion then
      vim.lsp.inline_completion.enable(true, { bufnr = bufnr })
    end
  end,
}
