(module
  (type (func))
  (type (func (param i64)))
  (type (func (param i32)))
  (func (; 0 ;) (; empty ;) (type 2)
    local.get 0
    i32.const 0
    call_indirect 0 (type 2))
  (func (; 1 ;) (; other ;) (type 2)
    local.get 0
    i32.const 1
    call_indirect 0 (type 2))
  (func (; 2 ;) (; beyond ;) (type 2)
    local.get 0
    i32.const -1
    call_indirect 0 (type 2))
  (func (; 3 ;) (; g ;) (type 1))
  (func (; 4 ;) (type 0)
    i32.const 0
    call 0)
  (func (; 5 ;) (type 0)
    i32.const 0
    call 1)
  (func (; 6 ;) (type 0)
    i32.const 0
    call 2)
  (table 2 funcref)
  (export "beyond" (func 6))
  (export "empty" (func 4))
  (export "other" (func 5))
  (elem (table 0) (i32.const 1) funcref (ref.func 3))
)
