select
    o.order_id,
    o.customer_id,
    o.order_date,
    o.status,
    coalesce(sum(case when p.payment_method = 'credit_card' then p.amount end), 0) as credit_card_amount,
    coalesce(sum(case when p.payment_method = 'coupon' then p.amount end), 0) as coupon_amount,
    coalesce(sum(case when p.payment_method = 'bank_transfer' then p.amount end), 0) as bank_transfer_amount,
    coalesce(sum(case when p.payment_method = 'gift_card' then p.amount end), 0) as gift_card_amount,
    coalesce(sum(p.amount), 0) as amount
from stg_orders o
left join stg_payments p on p.order_id = o.order_id
group by o.order_id, o.customer_id, o.order_date, o.status
