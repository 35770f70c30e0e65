(module
  (type (func (param i32) (result i32)))
  (func (; 0 ;) (; real ;) (type 0)
    local.get 0
    i32.const 1
    i32.add)
  (func (; 1 ;) (type 0)
    local.get 0
    call 0)
  (export "main" (func 1))
)
