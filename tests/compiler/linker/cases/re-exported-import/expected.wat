(module
  (type (func (result i32)))
  (func (; 0 ;) (type 0)
    i32.const 1)
  (func (; 1 ;) (type 0)
    call 0)
  (export "main" (func 1))
  (export "one" (func 0))
)
