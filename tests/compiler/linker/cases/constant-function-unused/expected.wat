(module
  (type (func))
  (func (; 0 ;) (; main ;) (type 0))
  (export "main" (func 0))
)
