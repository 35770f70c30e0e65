(module
  (type (func (result i32)))
  (func (; 0 ;) (type 0)
    i32.const 0
    i32.const 0
    i32.const 4
    memory.init 1
    data.drop 1
    data.drop 2
    i32.const 4
    i32.const 16
    i32.const 3
    memory.copy
    i32.const 8
    i32.const 1
    i32.const 4
    memory.fill
    i32.const 1
    memory.grow
    drop
    i32.const 0
    i32.load offset=0 align=4
    i32.const 4
    i32.load8_u offset=0 align=1
    i32.add)
  (memory 1)
  (export "main" (func 0))
  (data (i32.const 16) "abc")
  (data "*\00\00\00")
  (data "xyz")
)
