(module
  (type (func (result i32)))
  (type (func (param i32) (result i32)))
  (func (; 0 ;) (type 0)
    i32.const 1000)
  (func (; 1 ;) (type 0)
    call 0
    i32.const 1
    i32.add)
  (func (; 2 ;) (type 0)
    i32.const 1
    call 3)
  (func (; 3 ;) (type 1)
    unreachable)
  (export "main" (func 1))
  (export "wait" (func 2))
)
