(module
  (type (func (param i32)))
  (func (; 0 ;) (; a ;) (type 0)
    local.get 0
    i32.const 1
    call_indirect 0 (type 0))
  (func (; 1 ;) (type 0)
    local.get 0
    call 0)
  (table 2 funcref)
  (export "main" (func 1))
  (elem (table 0) (i32.const 0) funcref (ref.func 0) (ref.func 0))
)
