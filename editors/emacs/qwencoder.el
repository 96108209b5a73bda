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
(declare-function lsp--point-to-position "lsp-mode")
(declare-function eglot-current-server "eglot")
(declare-function eglot--pos-to-lsp-position "eglot")
(declare-function eglot--TextDocumentIdentifier "eglot")
(declare-function jsonrpc-async-request "jsonrpc")

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

;; Both clients convert positions to the encoding that they negotiated; eglot has no public name for that.
(defun qwencoder--position (pos)
  "POS as an LSP position."
  (if (bound-and-true-p lsp-mode)
      (lsp--point-to-position pos)
    (eglot--pos-to-lsp-position pos)))

(defun qwencoder--range ()
  "The region, or the cursor, which stands for the function around it, as an LSP range."
  (let ((begin (if (use-region-p) (region-beginning) (point)))
        (end (if (use-region-p) (region-end) (point))))
    (list :start (qwencoder--position begin) :end (qwencoder--position end))))

(defun qwencoder--execute (command &rest arguments)
  "Have the server run COMMAND for this file with more ARGUMENTS."
  (cond ((bound-and-true-p lsp-mode)
         (lsp-send-execute-command command (vconcat (vector (lsp--buffer-uri)) arguments)))
        ((bound-and-true-p eglot--managed-mode)
         (jsonrpc-async-request
          (eglot-current-server) :workspace/executeCommand
          (list :command command :arguments (vconcat (vector (plist-get (eglot--TextDocumentIdentifier) :uri)) arguments))
          :success-fn #'ignore
          :error-fn (lambda (problem) (message "Qwen-Coder: %s" (plist-get problem :message)))
          :timeout nil)) ; a review takes as long as the file is long
        (t (user-error "Neither lsp-mode nor eglot serves this buffer: M-x qwencoder-start, or M-x eglot"))))

(defun qwencoder-review ()
  "Review the file, or the region; findings appear as diagnostics."
  (interactive)
  (if (use-region-p)
      (qwencoder--execute "qwencoder.review" (qwencoder--range))
    (qwencoder--execute "qwencoder.review")))

(defun qwencoder-explain ()
  "Explain the function at the cursor, or the region, in a Markdown file."
  (interactive)
  (qwencoder--execute "qwencoder.explain" (qwencoder--range)))

(defun qwencoder-edit (words)
  "Change the function at the cursor, or the region, as WORDS say."
  (interactive "sChange: ")
  (qwencoder--execute "qwencoder.edit" (qwencoder--range) words))

(defun qwencoder-eglot (modes)
  "Have eglot start Qwen-Coder for MODES, in place of the language's own server."
  (with-eval-after-load 'eglot
    (add-to-list 'eglot-server-programs
                 (cons modes (lambda (&rest _) (append qwencoder-command (list :initializationOptions (qwencoder--settings))))))))

(provide 'qwencoder)
;;; qwencoder.el ends here
