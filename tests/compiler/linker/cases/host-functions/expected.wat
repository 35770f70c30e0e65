(module
  (type (func (result i32)))
  (type (func (param i32)))
  (type (func (param i32) (result i32)))
  (func (; 0 ;) (type 2)
    local.get 0
    i32.const 7
    i32.add)
  (func (; 1 ;) (type 1)
    local.get 0
    global.set 0)
  (func (; 2 ;) (type 0)
    i32.const 5
    call 1
    i32.const 1
    call 0
    global.get 0
    i32.add)
  (func (; 3 ;) (type 0)
    i32.const 1
    call 5)
  (func (; 4 ;) (type 0)
    i32.const 2
    call 5)
  (func (; 5 ;) (type 2)
    unreachable)
  (global (mut i32) (i32.const 0))
  (export "also_trapping" (func 4))
  (export "main" (func 2))
  (export "trapping" (func 3))
)
