from django.db import migrations, models

from dashboard import indexing


class Migration(migrations.Migration):

    dependencies = [
        ('broker', '0001_initial'),
        ('dashboard', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='Indexed',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('upto', models.BigIntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            name='Minute',
            fields=[
                ('at', models.DateTimeField(primary_key=True, serialize=False)),
                ('messages', models.PositiveIntegerField()),
            ],
        ),
        migrations.RunPython(lambda apps, editor: indexing.prepare(), migrations.RunPython.noop),
    ]
