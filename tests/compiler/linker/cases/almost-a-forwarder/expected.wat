(module
  (type (func (param i32 i32) (result i32)))
  (func (; 0 ;) (; sub ;) (type 0)
    local.get 0
    local.get 1
    i32.sub)
  (func (; 1 ;) (type 0)
    local.get 1
    local.get 0
    i32.const 0
    call_indirect 0 (type 0))
  (func (; 2 ;) (type 0)
    (local i32)
    local.get 0
    local.get 1
    i32.const 0
    call_indirect 0 (type 0))
  (func (; 3 ;) (type 0)
    local.get 0
    local.get 1
    i32.const 1
    i32.const 1
    i32.sub
    call_indirect 0 (type 0))
  (func (; 4 ;) (type 0)
    local.get 0
    local.get 1
    i32.const 0
    call_indirect 0 (type 0)
    i32.const 1
    i32.add)
  (func (; 5 ;) (type 0)
    local.get 0
    local.get 1
    drop
    drop
    i32.const 5)
  (table 1 funcref)
  (export "computed" (func 3))
  (export "constant" (func 5))
  (export "local" (func 2))
  (export "more" (func 4))
  (export "swapped" (func 1))
  (elem (table 0) (i32.const 0) funcref (ref.func 0))
)
