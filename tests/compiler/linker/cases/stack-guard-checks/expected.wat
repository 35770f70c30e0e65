(module
  (type (func (result i32)))
  (type (func (param i64)))
  (type (func (param i32 f64 i64) (result i64 i32)))
  (func (; 0 ;) (; check ;) (type 1))
  (func (; 1 ;) (type 2)
    global.get 0
    i32.const 256
    i32.sub
    global.set 0
    local.get 0
    local.get 1
    local.get 2
    call 5
    global.get 0
    i32.const 256
    i32.add
    global.set 0)
  (func (; 2 ;) (; refers ;) (type 0)
    ref.func 0
    drop
    global.get 0)
  (func (; 3 ;) (type 0)
    i32.const 1
    f64.const 0x1.0000000000000p+1
    i64.const 3
    call 1
    return)
  (func (; 4 ;) (type 0)
    i32.const 1
    f64.const 0x1.0000000000000p+1
    i64.const 3
    i32.const 0
    call_indirect 0 (type 2)
    return)
  (func (; 5 ;) (; deep ;) (type 2)
    local.get 2
    call 0
    local.get 2
    global.get 0)
  (table 2 funcref)
  (global (mut i32) (i32.const 512))
  (export "deep" (func 1))
  (export "direct" (func 3))
  (export "refers" (func 2))
  (export "table" (func 4))
  (elem (table 0) (i32.const 0) funcref (ref.func 1) (ref.func 2))
  (elem declare funcref (ref.func 0))
)
