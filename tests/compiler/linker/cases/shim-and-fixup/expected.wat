(module
  (type (func (param i32) (result i64)))
  (type (func (param i32) (result i32)))
  (type (func (param i32 i64)))
  (func (; 0 ;) (type 0)
    i32.const 8
    local.get 0
    call 1
    i64.extend_i32_s
    call 2
    i32.const 8
    i64.load offset=0 align=8)
  (func (; 1 ;) (type 1)
    local.get 0
    i32.const 2
    i32.mul)
  (func (; 2 ;) (type 2)
    local.get 0
    local.get 1
    i64.store offset=0 align=8)
  (memory 1)
  (export "main" (func 0))
)
