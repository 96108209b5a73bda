" Qwen-Coder for the language clients of Vim: coc.nvim, or yegappan/lsp. Put it into ~/.vim/plugin; `qwencoder-lsp setup vim` does.
if exists('g:loaded_qwencoder')
  finish
endif
let g:loaded_qwencoder = 1

" How the language server is started.
let g:qwencoder_command = get(g:, 'qwencoder_command', ['qwencoder-lsp', '--stdio'])
" The server's settings, such as {'completion': {'max_lines': 6}}.
let g:qwencoder_settings = get(g:, 'qwencoder_settings', {})

" yegappan/lsp wants each file type named.
let s:filetypes = split('ada agda asm awk c cpp cs clojure cmake coffee css cuda dart dockerfile elixir elm lisp erlang fsharp fortran glsl go '
      \ .. 'groovy haskell html idris2 java javascript javascriptreact json jsonc julia kotlin lean less lua make markdown matlab objc objcpp ocaml '
      \ .. 'pascal perl php ps1 prolog proto python r racket rmd rst ruby rust sas scala scheme scss sh bash zsh fish solidity sql stan sml svelte '
      \ .. 'swift systemverilog tcl tex plaintex thrift typescript typescriptreact vb verilog vhdl vue xml yaml zig')

function! s:coc() abort
  call coc#config('languageserver.qwencoder', {
        \ 'command': g:qwencoder_command[0],
        \ 'args': g:qwencoder_command[1:],
        \ 'filetypes': ['*'],
        \ 'rootPatterns': ['.qwencoder.toml', '.git'],
        \ 'initializationOptions': g:qwencoder_settings,
        \ })
  call coc#config('inlineSuggest.autoTrigger', v:true)
  inoremap <silent><expr> <Plug>(qwencoder-accept) coc#inline#visible() ? coc#inline#accept() : "\<Tab>"
endfunction

function! s:lsp() abort
  call LspAddServer([{
        \ 'name': 'qwencoder',
        \ 'filetype': s:filetypes,
        \ 'path': g:qwencoder_command[0],
        \ 'args': g:qwencoder_command[1:],
        \ 'initializationOptions': g:qwencoder_settings,
        \ }])
endfunction

augroup qwencoder
  autocmd!
  " coc reads its configuration when Vim has started, after this.
  autocmd VimEnter * if exists('*coc#config') || exists('g:did_coc_loaded') | call s:coc() | endif
  autocmd User LspSetup call s:lsp()
augroup END
