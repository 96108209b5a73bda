(when (load "@FILES@/qwencoder.el" t t)
  (setq qwencoder-command '(@COMMAND@))
  (add-hook 'prog-mode-hook #'qwencoder-start))
