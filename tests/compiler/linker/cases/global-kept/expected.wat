(module
  (type (func (result i32)))
  (func (; 0 ;) (type 0)
    global.get 0
    i32.const 1
    i32.add
    global.set 0
    global.get 0
    global.get 1
    i32.sub)
  (func (; 1 ;) (type 0)
    i32.const 3)
  (global (mut i32) (i32.const 41))
  (global i32 (i32.const 40))
  (export "limit" (global 1))
  (export "main" (func 0))
  (export "other" (func 1))
)
