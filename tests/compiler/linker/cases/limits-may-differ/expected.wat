(module
  (type (func))
  (func (; 0 ;) (type 0))
  (memory 2)
  (export "main" (func 0))
)
