"""What defines a name, by language: tree-sitter queries.

Each match captures the definition under its kind and the name under `name`; `import` captures whole import statements. Kinds: function, method,
class, type, interface, enum, module, variable, constant, field, macro. Syntax: https://tree-sitter.github.io/tree-sitter/using-parsers/queries/
"""

from __future__ import annotations

_PYTHON = """
(function_definition name: (identifier) @name) @function
(class_definition name: (identifier) @name) @class
(module (expression_statement (assignment left: (identifier) @name)) @variable)
(module (expression_statement (assignment left: (pattern_list (identifier) @name))) @variable)
(module (expression_statement (assignment right: (assignment left: (identifier) @name))) @variable)
(module (_ [(block (expression_statement (assignment left: (identifier) @name)) @variable)
            (_ (block (expression_statement (assignment left: (identifier) @name)) @variable))]))
(class_definition body: (block (expression_statement (assignment left: (identifier) @name)) @field))
(class_definition body: (block (expression_statement (assignment left: (pattern_list (identifier) @name))) @field))
(class_definition body: (block (expression_statement (assignment right: (assignment left: (identifier) @name))) @field))
(type_alias_statement left: (type (identifier) @name)) @type
(import_statement) @import
(import_from_statement) @import
"""

_ECMA = """
(function_declaration name: (identifier) @name) @function
(generator_function_declaration name: (identifier) @name) @function
(method_definition name: [(property_identifier) (private_property_identifier)] @name) @method
(variable_declarator name: (identifier) @name value: [(arrow_function) (function_expression) (generator_function)]) @function
(pair key: (property_identifier) @name value: [(arrow_function) (function_expression)]) @method
(assignment_expression left: (member_expression property: (property_identifier) @name)
    right: [(arrow_function) (function_expression) (class)]) @function
(program (lexical_declaration (variable_declarator name: (identifier) @name) @variable))
(program (variable_declaration (variable_declarator name: (identifier) @name) @variable))
(export_statement (lexical_declaration (variable_declarator name: (identifier) @name) @variable))
(import_statement) @import
(variable_declarator value: (call_expression function: (identifier) @f (#eq? @f "require"))) @import
"""

_JAVASCRIPT = (
    _ECMA
    + """
(class_declaration name: (identifier) @name) @class
(class name: (identifier) @name) @class
(field_definition property: [(property_identifier) (private_property_identifier)] @name) @field
"""
)

_TYPESCRIPT = (
    _ECMA
    + """
(class_declaration name: (type_identifier) @name) @class
(abstract_class_declaration name: (type_identifier) @name) @class
(interface_declaration name: (type_identifier) @name) @interface
(type_alias_declaration name: (type_identifier) @name) @type
(enum_declaration name: (identifier) @name) @enum
(enum_body name: (property_identifier) @name @constant)
(enum_assignment name: (property_identifier) @name) @constant
(function_signature name: (identifier) @name) @function
(method_signature name: (property_identifier) @name) @method
(abstract_method_signature name: (property_identifier) @name) @method
(property_signature name: (property_identifier) @name) @field
(public_field_definition name: (property_identifier) @name) @field
(internal_module name: (identifier) @name) @module
(internal_module body: (statement_block (lexical_declaration (variable_declarator name: (identifier) @name) @variable)))
(internal_module body: (statement_block (export_statement (lexical_declaration (variable_declarator name: (identifier) @name) @variable))))
(module body: (statement_block (_ (variable_declarator name: (identifier) @name) @variable)))
(module body: (statement_block (export_statement (_ (variable_declarator name: (identifier) @name) @variable))))
(ambient_declaration (variable_declaration (variable_declarator name: (identifier) @name) @variable))
(ambient_declaration (lexical_declaration (variable_declarator name: (identifier) @name) @variable))
"""
)

_GO = """
(function_declaration name: (identifier) @name) @function
(method_declaration name: (field_identifier) @name) @method
(type_spec name: (type_identifier) @name) @type
(type_alias name: (type_identifier) @name) @type
(method_elem name: (field_identifier) @name) @method
(field_declaration name: (field_identifier) @name) @field
(source_file (const_declaration (const_spec name: (identifier) @name) @constant))
(source_file (var_declaration (var_spec name: (identifier) @name) @variable))
(source_file (var_declaration (var_spec_list (var_spec name: (identifier) @name) @variable)))
(import_spec) @import
"""

_RUST = """
(function_item name: (identifier) @name) @function
(function_signature_item name: (identifier) @name) @function
(struct_item name: (type_identifier) @name) @class
(union_item name: (type_identifier) @name) @class
(enum_item name: (type_identifier) @name) @enum
(enum_variant name: (identifier) @name) @constant
(trait_item name: (type_identifier) @name) @interface
(type_item name: (type_identifier) @name) @type
(mod_item name: (identifier) @name) @module
(const_item name: (identifier) @name) @constant
(static_item name: (identifier) @name) @variable
(macro_definition name: (identifier) @name) @macro
(field_declaration name: (field_identifier) @name) @field
(use_declaration) @import
"""

_JAVA = """
(class_declaration name: (identifier) @name) @class
(record_declaration name: (identifier) @name) @class
(interface_declaration name: (identifier) @name) @interface
(annotation_type_declaration name: (identifier) @name) @interface
(enum_declaration name: (identifier) @name) @enum
(enum_constant name: (identifier) @name) @constant
(method_declaration name: (identifier) @name) @method
(constructor_declaration name: (identifier) @name) @method
(field_declaration declarator: (variable_declarator name: (identifier) @name)) @field
(constant_declaration declarator: (variable_declarator name: (identifier) @name)) @constant
(import_declaration) @import
"""

_C = """
(function_definition declarator: [
    (function_declarator declarator: (identifier) @name)
    (pointer_declarator declarator: (function_declarator declarator: (identifier) @name))
    (pointer_declarator declarator: (pointer_declarator declarator: (function_declarator declarator: (identifier) @name)))
]) @function
(translation_unit (declaration declarator: [
    (function_declarator declarator: (identifier) @name)
    (pointer_declarator declarator: (function_declarator declarator: (identifier) @name))
]) @function)
(preproc_def name: (identifier) @name) @macro
(preproc_function_def name: (identifier) @name) @macro
(struct_specifier name: (type_identifier) @name body: (_)) @class
(union_specifier name: (type_identifier) @name body: (_)) @class
(enum_specifier name: (type_identifier) @name body: (_)) @enum
(enumerator name: (identifier) @name) @constant
(type_definition declarator: [
    (type_identifier) @name
    (pointer_declarator declarator: (type_identifier) @name)
    (array_declarator declarator: (type_identifier) @name)
    (function_declarator declarator: (parenthesized_declarator (pointer_declarator declarator: (type_identifier) @name)))
    (pointer_declarator declarator: (function_declarator declarator:
        (parenthesized_declarator (pointer_declarator declarator: (type_identifier) @name))))
    (function_declarator declarator: (type_identifier) @name)
]) @type
(field_declaration declarator: [
    (field_identifier) @name
    (pointer_declarator declarator: (field_identifier) @name)
    (pointer_declarator declarator: (pointer_declarator declarator: (field_identifier) @name))
    (array_declarator declarator: (field_identifier) @name)
    (function_declarator declarator: (parenthesized_declarator (pointer_declarator declarator: (field_identifier) @name)))
    (pointer_declarator declarator: (function_declarator declarator:
        (parenthesized_declarator (pointer_declarator declarator: (field_identifier) @name))))
]) @field
(declaration declarator: [
    (init_declarator declarator: (identifier) @name)
    (init_declarator declarator: (pointer_declarator declarator: (identifier) @name))
    (init_declarator declarator: (array_declarator declarator: (identifier) @name))
    (init_declarator declarator: (array_declarator declarator: (array_declarator declarator: (identifier) @name)))
    (identifier) @name
    (pointer_declarator declarator: (identifier) @name)
    (array_declarator declarator: (identifier) @name)
]) @global
(preproc_include) @import
"""

_CPP = (
    _C
    + """
(class_specifier name: (type_identifier) @name body: (_)) @class
(class_specifier name: (template_type name: (type_identifier) @name) body: (_)) @class
(struct_specifier name: (template_type name: (type_identifier) @name) body: (_)) @class
(field_declaration declarator: (reference_declarator (field_identifier) @name)) @field
(namespace_definition name: (namespace_identifier) @name) @module
(alias_declaration name: (type_identifier) @name) @type
(function_definition declarator: [
    (function_declarator declarator: (field_identifier) @name)
    (function_declarator declarator: (qualified_identifier name: (identifier) @name))
    (function_declarator declarator: (qualified_identifier name: (qualified_identifier name: (identifier) @name)))
    (function_declarator declarator: [(destructor_name) (operator_name)] @name)
    (reference_declarator (function_declarator declarator: (_) @name))
    (pointer_declarator declarator: (function_declarator declarator: (field_identifier) @name))
]) @function
(field_declaration declarator: [
    (function_declarator declarator: (field_identifier) @name)
    (pointer_declarator declarator: (function_declarator declarator: (field_identifier) @name))
    (reference_declarator (function_declarator declarator: (field_identifier) @name))
]) @method
"""
)

_CSHARP = """
(class_declaration name: (identifier) @name) @class
(struct_declaration name: (identifier) @name) @class
(record_declaration name: (identifier) @name) @class
(interface_declaration name: (identifier) @name) @interface
(enum_declaration name: (identifier) @name) @enum
(enum_member_declaration name: (identifier) @name) @constant
(delegate_declaration name: (identifier) @name) @type
(namespace_declaration name: (_) @name) @module
(method_declaration name: (identifier) @name) @method
(constructor_declaration name: (identifier) @name) @method
(property_declaration name: (identifier) @name) @field
(event_declaration name: (identifier) @name) @field
(field_declaration (variable_declaration (variable_declarator name: (identifier) @name))) @field
(event_field_declaration (variable_declaration (variable_declarator name: (identifier) @name))) @field
(using_directive) @import
"""

_RUBY = """
(method name: (_) @name) @method
(singleton_method name: (_) @name) @method
(class name: [(constant) @name (scope_resolution name: (constant) @name)]) @class
(module name: [(constant) @name (scope_resolution name: (constant) @name)]) @module
(assignment left: (constant) @name) @constant
(alias name: (identifier) @name) @method
(call method: (identifier) @f arguments: (argument_list . (string)) (#any-of? @f "require" "require_relative" "load")) @import
"""

_PHP = """
(function_definition name: (name) @name) @function
(method_declaration name: (name) @name) @method
(class_declaration name: (name) @name) @class
(interface_declaration name: (name) @name) @interface
(trait_declaration name: (name) @name) @interface
(enum_declaration name: (name) @name) @enum
(enum_case name: (name) @name) @constant
(const_element (name) @name) @constant
(property_element name: (variable_name (name) @name)) @field
(namespace_definition name: (namespace_name) @name) @module
(namespace_use_declaration) @import
(require_once_expression) @import
(include_expression) @import
"""

_SHELL = """
(function_definition name: (word) @name) @function
(program (variable_assignment name: (variable_name) @name) @variable)
(program (declaration_command (variable_assignment name: (variable_name) @name)) @variable)
(command name: (command_name (word) @f) argument: (_) (#any-of? @f "source" ".")) @import
"""

QUERIES = {
    "python": _PYTHON, "javascript": _JAVASCRIPT, "javascriptreact": _JAVASCRIPT, "typescript": _TYPESCRIPT, "typescriptreact": _TYPESCRIPT,
    "go": _GO, "rust": _RUST, "java": _JAVA, "c": _C, "cpp": _CPP, "csharp": _CSHARP, "ruby": _RUBY, "php": _PHP, "shellscript": _SHELL,
}  # fmt: skip
"""LSP language id -> query."""
