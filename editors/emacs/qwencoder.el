;;; qwencoder.el --- Qwen-Coder for lsp-mode and eglot -*- lexical-binding: t -*-

;; Package-Requires: ((emacs "28.1"))
;; SPDX-License-Identifier: Apache-2.0

;;; Commentary:

;; Registers the language server `qwencoder-lsp': with lsp-mode 10 beside the language's own server, with ghost text;
;; with eglot in its place, for the modes that `qwencoder-eglot' is given.

;;; Code:

(defgroup qwencoder nil
  "Code assistance from Qwen-Coder models on your own machine."
  :group 'tools)

(defcustom qwencoder-command '("qwencoder-lsp" "--stdio")
  "How the language server is started."
  :type '(repeat string))

(defcustom qwencoder-settings nil
  "Settings of the server as a plist, such as (:completion (:max_lines 6))."
  :type 'plist)

(defun qwencoder--settings ()
  "The settings as an object, also when there are none."
  (or qwencoder-settings (make-hash-table)))

(defvar lsp-inline-completion-enable)
(defvar lsp-inline-completion-idle-delay)
(defvar eglot-server-programs)
(declare-function lsp-deferred "lsp-mode")
(declare-function lsp-register-client "lsp-mode")
(declare-function lsp-stdio-connection "lsp-mode")
(declare-function make-lsp-client "lsp-mode")
(declare-function lsp-send-execute-command "lsp-mode")
(declare-function lsp--buffer-uri "lsp-mode")
(declare-function lsp--range "lsp-mode")
(declare-function lsp--point-to-position "lsp-mode")

(defun qwencoder-start ()
  "Start lsp-mode in this buffer where it is installed."
  (when (fboundp 'lsp-deferred)
    (lsp-deferred)))

(with-eval-after-load 'lsp-mode
  (setq lsp-inline-completion-enable t
        lsp-inline-completion-idle-delay 0.1) ; the server itself waits for as long as it pays
  (lsp-register-client
   (make-lsp-client :new-connection (lsp-stdio-connection (lambda () qwencoder-command))
                    :activation-fn (lambda (_file mode) (provided-mode-derived-p mode 'prog-mode))
                    :initialization-options #'qwencoder--settings
                    :add-on? t
                    :multi-root t
                    :server-id 'qwencoder)))

(defun qwencoder--range ()
  "The region, or the cursor, which stands for the function around it, as an LSP range."
  (if (use-region-p)
      (lsp--range (lsp--point-to-position (region-beginning)) (lsp--point-to-position (region-end)))
    (lsp--range (lsp--point-to-position (point)) (lsp--point-to-position (point)))))

(defun qwencoder-review ()
  "Review the file, or the region; findings appear as diagnostics.  With lsp-mode."
  (interactive)
  (lsp-send-execute-command
   "qwencoder.review" (if (use-region-p) (vector (lsp--buffer-uri) (qwencoder--range)) (vector (lsp--buffer-uri)))))

(defun qwencoder-explain ()
  "Explain the function at the cursor, or the region, in a Markdown file.  With lsp-mode."
  (interactive)
  (lsp-send-execute-command "qwencoder.explain" (vector (lsp--buffer-uri) (qwencoder--range))))

(defun qwencoder-edit (words)
  "Change the function at the cursor, or the region, as WORDS say.  With lsp-mode."
  (interactive "sChange: ")
  (lsp-send-execute-command "qwencoder.edit" (vector (lsp--buffer-uri) (qwencoder--range) words)))

(defun qwencoder-eglot (modes)
  "Have eglot start Qwen-Coder for MODES, in place of the language's own server."
  (with-eval-after-load 'eglot
    (add-to-list 'eglot-server-programs
                 (cons modes (lambda (&rest _) (append qwencoder-command (list :initializationOptions (qwencoder--settings))))))))

(provide 'qwencoder)
;;; qwencoder.el ends here
