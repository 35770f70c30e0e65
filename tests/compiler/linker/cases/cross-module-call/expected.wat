(module
  (type (func (param i32) (result i32)))
  (type (func (param i32 i32) (result i32)))
  (func (; 0 ;) (type 1)
    local.get 0
    local.get 1
    i32.add)
  (func (; 1 ;) (type 0)
    local.get 0
    local.get 0
    call 0)
  (func (; 2 ;) (type 0)
    local.get 0
    call 1
    i32.const 1
    call 0)
  (export "main" (func 2))
)
