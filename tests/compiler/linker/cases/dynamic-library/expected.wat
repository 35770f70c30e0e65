(module
  (type (func))
  (type (func (result i64)))
  (type (func (result i32)))
  (func (; 0 ;) (; nothing ;) (type 0))
  (func (; 1 ;) (; load ;) (type 2)
    i32.const 1028
    i32.load offset=0 align=4)
  (func (; 2 ;) (type 2)
    global.get 0
    i32.const 16
    i32.sub
    global.set 0
    i32.const 3
    call_indirect 0 (type 2)
    i32.const 1000
    i32.mul
    i32.const 1024
    i32.load offset=0 align=4
    i32.add)
  (func (; 3 ;) (type 2)
    i32.const 1028)
  (func (; 4 ;) (type 1)
    i64.const -9000000000)
  (func (; 5 ;) (type 2)
    global.get 0)
  (table 4 funcref)
  (memory 1)
  (global (mut i32) (i32.const 1000))
  (export "after" (func 3))
  (export "far" (func 4))
  (export "main" (func 2))
  (export "memory" (memory 0))
  (export "sp" (func 5))
  (elem (table 0) (i32.const 2) funcref (ref.func 0) (ref.func 1))
  (data (i32.const 1024) "\01\00\00\00")
  (data (i32.const 1028) "*\00\00\00")
)
